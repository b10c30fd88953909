/** What a file is that is no checkpoint, told by its first bytes, and what to do about it. */
import { modelErrors } from '../../errors.ts';

/** Bytes that tell: a tar has its mark at 257, pointers and pages say what they are in their first line. */
export const SNIFFED_BYTES = 512;

/** First bytes of formats that people mistake for checkpoints, and what to do with each. */
const SIGNATURES: readonly (readonly [bytes: string, what: string])[] = [
  ['\x1f\x8b', 'a gzip archive; unpack it first'],
  ['\x28\xb5\x2f\xfd', 'a zstd archive; unpack it first'],
  ['\xfd7zXZ\0', 'an xz archive; unpack it first'],
  ['BZh', 'a bzip2 archive; unpack it first'],
  ['7z\xbc\xaf\x27\x1c', 'a 7z archive; unpack it first'],
  ['Rar!', 'a RAR archive; unpack it first'],
  ['PK\x05\x06', 'an empty zip archive'],
  ['GGUF', 'a GGUF file, which holds a quantised base model; the decoder’s state dict is needed'],
  ['\x89HDF', 'an HDF5 file, as Keras writes it; a state dict of PyTorch is needed'],
  ['\x93NUMPY', 'a NumPy array; a state dict of PyTorch is needed'],
  ['PAR1', 'a Parquet file'],
  ['%PDF', 'a PDF document'],
  ['\x89PNG', 'a picture'],
  ['\x7fELF', 'a program'],
];
const TAR_MARK = { at: 257, text: 'ustar' };

/** Endings that downloading programs give to what has not come in whole. */
const PARTIAL_NAME = /\.(?:incomplete|part|partial|crdownload|download|aria2|tmp)$/i;

/**
 * Refuses a file whose first bytes say that it is something else: a Git LFS pointer, a page, JSON, an archive, nothing.
 * Text is quoted only where it is the pointer's own. Errors: `checkpoint-invalid` that says what the file is.
 */
export function refuseForeignFile(name: string, head: Uint8Array, fileBytes: number): void {
  const what = whatItIs(head, fileBytes);
  if (what !== undefined) throw modelErrors.checkpoint(`It is ${what}.`);
  if (name.endsWith('.distcp')) {
    throw modelErrors.checkpoint(
      `It is one process’s part of a checkpoint sharded by FSDP. Gather it first: ` +
        'python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIRECTORY FILE.pth.',
    );
  }
  if (PARTIAL_NAME.test(name)) {
    throw modelErrors.checkpoint(
      `It is a download that has not come to its end (${fileBytes} bytes so far); fetch it again.`,
    );
  }
}

/**
 * What a file is, told by its first {@link SNIFFED_BYTES} bytes, as the end of a sentence: a Git LFS pointer, a page, JSON, an
 * archive. Undefined where it may be what it is taken for.
 */
export function whatItIs(head: Uint8Array, fileBytes: number): string | undefined {
  if (fileBytes === 0) return 'empty';
  const text = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1');
  if (head.length > 8 && head.every((byte) => byte === 0)) {
    return `${fileBytes} bytes that begin with nothing but zeros, as a download leaves that was cut off; fetch it again`;
  }
  const signature = SIGNATURES.find(([bytes]) => text.startsWith(bytes));
  if (signature) return signature[1];
  if (text.startsWith(TAR_MARK.text, TAR_MARK.at)) return 'a tar archive; unpack it first';
  // A header's length has zero bytes, a pickle opens with 0x80, and text has neither.
  if (/[^\t\n\f\r\x20-\x7e\x80-\xff]/.test(text)) return undefined;
  return whatTextIs(text, fileBytes);
}

function whatTextIs(text: string, fileBytes: number): string | undefined {
  const pointer = /^version https:\/\/git-lfs\.github\.com\/spec\/v1\n[\s\S]*?\nsize (\d{1,19})\n/.exec(text);
  if (pointer) {
    return `a Git LFS pointer of ${fileBytes} bytes in place of the file, which has ${pointer[1]}; fetch that with "git lfs pull" or "loradrop models pull"`;
  }
  if (text.startsWith('/annex/objects/')) return 'a git-annex pointer in place of the file; fetch that';
  const start = text.trimStart().replace(/^\xef\xbb\xbf/, '');
  if (/^<(?:!doctype html|html|head|body)\b/i.test(start)) {
    return 'an HTML page, as a server gives it in place of a file that needs a login or is not there; fetch it again';
  }
  if (start.startsWith('<?xml') || /^<[A-Za-z]/.test(start)) {
    return 'an XML document, as a store answers with it in place of a file; fetch it again';
  }
  if (/^[[{]/.test(start)) {
    return 'JSON; name the file with the weights, or the .index.json of a sharded checkpoint';
  }
  // Protocol 0 of pickle is text as well.
  return /^[(cdl}]/.test(start) ? undefined : 'text, not a checkpoint';
}
