/** Files that get into a data set's place and hold no prompts, told by how they begin. */
import { promptErrors } from './errors.ts';

const OTHERS: readonly { readonly begins: string; readonly what: string }[] = [
  { begins: 'PK\x03\x04', what: 'a zip archive, as spreadsheets (.xlsx) are; save it as CSV' },
  {
    begins: 'version https://git-lfs.github.com/spec/',
    what: 'a Git LFS pointer; fetch the file that it stands for',
  },
  { begins: '<!doctype html', what: 'an HTML page, as a download from a web site’s view of a file is' },
  { begins: '<html', what: 'an HTML page, as a download from a web site’s view of a file is' },
  { begins: 'ARROW1\0', what: 'an Arrow file; write it as Parquet' },
  { begins: '\xfd7zXZ\0', what: 'compressed with xz; use gzip or zstd' },
  { begins: 'BZh', what: 'compressed with bzip2; use gzip or zstd' },
  { begins: '%PDF-', what: 'a PDF' },
];

/** Refuses what would otherwise be read as text. Errors: `prompts-invalid`, which says what it is. */
export function refuseOtherFiles(bytes: Uint8Array): void {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString('latin1');
  const other = OTHERS.find(({ begins }) => start.toLowerCase().startsWith(begins.toLowerCase()));
  // BZh is followed by a digit and the digits of π; as a text's first letters alone it says nothing.
  if (!other || (other.begins === 'BZh' && !/^BZh[1-9]1AY&SY/.test(start))) return;
  throw promptErrors.invalid(`This is not a file of prompts, but ${other.what}.`);
}
