import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'tap';
import { openStateDict } from '../../../../src/models/import/checkpoint/open-state-dict.ts';

const LFS = `version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 4452813312
`;

test('what is not a checkpoint says what it is', async (t) => {
  const directory = t.testdir();
  const tar = Buffer.alloc(1024);
  tar.write('model.pth', 0);
  tar.write('ustar', 257);
  for (const [name, bytes, message] of [
    [
      'pointer.safetensors',
      LFS,
      /a Git LFS pointer of 135 bytes in place of the file, which has 4452813312; fetch/,
    ],
    ['annex.pth', '/annex/objects/MD5E-s1--0.pth\n', /git-annex pointer/],
    ['page.pth', '<!DOCTYPE html>\n<html><head><title>Sign in</title>', /an HTML page/],
    ['page2.pth', '\n  <html lang="en">', /an HTML page/],
    ['error.pth', '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', /an XML document/],
    ['config.safetensors', '{"error": "Repository not found"}', /JSON; name the file with the weights/],
    ['list.pth', '[1, 2]', /JSON/],
    ['empty.pth', '', /empty/],
    ['notes.pth', 'Remember to upload the weights.', /text, not a checkpoint/],
    ['zeros.safetensors', Buffer.alloc(4096), /4096 bytes that begin with nothing but zeros/],
    ['model.pth.gz', gzipSync('x'), /a gzip archive; unpack it first/],
    ['model.zst', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]), /a zstd archive/],
    ['model.tar', tar, /a tar archive; unpack it first/],
    ['model.gguf', 'GGUF\x03\0\0\0\0\0\0\0', /a GGUF file/],
    ['model.h5', Buffer.from('\x89HDF\r\n\x1a\n\0\0', 'latin1'), /HDF5/],
    ['array.npy', Buffer.from('\x93NUMPY\x01\0v\0', 'latin1'), /a NumPy array/],
    [
      'model.safetensors.incomplete',
      Buffer.from([1, 2, 3, 0, 0, 0, 0, 0, 0x7b]),
      /has not come to its end \(9 bytes/,
    ],
  ] as const) {
    await writeFile(join(directory, name), bytes);
    const start = `^${name.replaceAll('.', '\\.')} cannot be read: It is .*`;
    await t.rejects(
      openStateDict(join(directory, name)),
      { code: 'checkpoint-invalid', message: new RegExp(start + message.source) },
      name,
    );
  }
});

test('a download that was cut off tells both sizes', async (t) => {
  const directory = t.testdir();
  const header = Buffer.from('{"a":{"dtype":"F32","shape":[100],"data_offsets":[0,400]}}');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const path = join(directory, 'cut.safetensors');
  await writeFile(path, Buffer.concat([length, header, Buffer.alloc(300)]));
  await t.rejects(openStateDict(path), { message: /take 400 bytes, and the file has 300 for them/ });
  await writeFile(path, Buffer.concat([length, header.subarray(0, 30)]));
  await t.rejects(openStateDict(path), {
    message: /header claims 58 bytes, more than the 30 behind its length/,
  });
});

test('an archive of something else tells what it holds', async (t) => {
  const directory = t.testdir({ 'model.safetensors': 'x', 'notes.txt': '' });
  for (const [name, entries, message] of [
    [
      'nested.zip',
      ['run/model.safetensors'],
      /no data\.pkl: torch\.save did not make it\. It holds run\/model\.safetensors; unpack it first/,
    ],
    ['arrays.npz', ['arr_0.npy'], /arrays of NumPy/],
    [
      'letter.docx',
      ['[Content_Types].xml', 'word/document.xml'],
      /It holds \[Content_Types\]\.xml, word\/document\.xml/,
    ],
  ] as const) {
    await writeFile(join(directory, name), emptyZip(entries));
    await t.rejects(openStateDict(join(directory, name)), { code: 'checkpoint-invalid', message }, name);
  }
  await t.rejects(openStateDict(directory), {
    message: /a directory; name a file\. It holds .*model\.safetensors/,
  });
  const file = await open(join(directory, 'zero.zip'), 'w');
  await file.write(Buffer.from('PK\x05\x06'.padEnd(22, '\0'), 'latin1'));
  await file.close();
  await t.rejects(openStateDict(join(directory, 'zero.zip')), { message: /an empty zip archive/ });
});

/** A zip archive of empty entries. */
function emptyZip(names: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const name of names) {
    const local = Buffer.alloc(30);
    local.write('PK\x03\x04', 'latin1');
    local.writeUInt16LE(name.length, 26);
    const central = Buffer.alloc(46);
    central.write('PK\x01\x02', 'latin1');
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(at, 42);
    parts.push(local, Buffer.from(name));
    directory.push(central, Buffer.from(name));
    at += 30 + name.length;
  }
  const listing = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(names.length, 8);
  end.writeUInt16LE(names.length, 10);
  end.writeUInt32LE(listing.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, listing, end]);
}
