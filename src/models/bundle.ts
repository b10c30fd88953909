/** A verified bundle directory. */
import type { Sha256 } from '../base/digest.ts';
import type { BundleManifest } from './manifest.ts';

/** What people are told wherever a bundle with random weights shows. */
export const UNTRAINED = 'untrained: valid files, random effect';

/** A bundle as the rest of the service sees it: where it lies, what it says, and what it hashes to. */
export type Bundle = {
  /** Absolute directory. Never shown to clients. */
  readonly directory: string;
  readonly manifest: BundleManifest;
  /** SHA-256 of the bytes of `bundle.json`, which itself holds the digest of every other file. */
  readonly digest: Sha256;
  /** Graphs by the file names that the manifest has for them, where they are not files: those a bundle of version 1 lacks. */
  readonly supplied?: ReadonlyMap<string, Uint8Array>;
};
