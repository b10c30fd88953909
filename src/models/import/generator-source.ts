/** What the import of a family of generators has to give; the rest of a bundle is made the same way for every family. */

import type { BundleFile, BundleManifest } from '../manifest.ts';
import type { EncoderFacts } from './encoder/encoder.ts';
import type { FullyMaskedAttention } from './encoder/fully-masked.ts';

/** A checkpoint that was read as far as its shapes. Disposing closes its files. */
export type GeneratorSource = AsyncDisposable & {
  /** Width of the encoder's hidden states that it takes. */
  readonly width: number;
  /** Most tokens that the encoder may be given at once. */
  readonly mostTokens: number;
  /** Bytes of its numbers as float32. */
  readonly bytes: number;
  /**
   * Writes graphs and weights into a bundle directory, flushed. `onBytes` is told of the numbers that were dealt with.
   * Errors: `checkpoint-invalid`, `encoder-invalid`.
   */
  store(
    directory: string,
    encoder: EncoderFacts,
    options: { readonly onBytes: (bytes: number) => void; readonly signal?: AbortSignal },
  ): Promise<StoredGenerator>;
};

/** A generator in a bundle directory. */
export type StoredGenerator = {
  /** Names of its files. */
  readonly files: readonly string[];
  /** Sizes and digests of those that need not be read again for it. */
  readonly known: ReadonlyMap<string, Omit<BundleFile, 'name'>>;
  /** Its part of the manifest. */
  readonly facts: Pick<BundleManifest, 'family' | 'layout' | 'condition' | 'generator' | 'dnd' | 't2l'>;
  /** Sentences on where it comes from. */
  readonly provenance: readonly string[];
  /** What the encoder's attention is to give where every key is masked, where that case arises. */
  readonly fullyMasked?: FullyMaskedAttention;
};
