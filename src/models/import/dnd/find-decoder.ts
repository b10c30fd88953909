/** The decoder in a checkpoint, found by the shape of its tensors, whatever trainers put around it. */
import { LoradropError } from '../../../base/errors.ts';
import { modelErrors } from '../../errors.ts';
import type { StateDict, StateDictEntry } from '../checkpoint/state-dict.ts';
import { type DecoderArchitecture, inferArchitecture } from './architecture.ts';

/** A decoder that was found. */
export type FoundDecoder = {
  readonly architecture: DecoderArchitecture;
  /** From the published names to those of the file. */
  readonly names: ReadonlyMap<string, string>;
  /** What stands before the published names in the file, without the wrappers of frameworks; empty where nothing does. */
  readonly key: string;
  /** What a person should know: where the weights were, what was left out, what was converted. */
  readonly notes: readonly string[];
};

/** Parts of names that wrappers of modules put between others: DataParallel, torch.compile, FSDP, DeepSpeed. */
const WRAPPERS: ReadonlySet<string> = new Set([
  'module',
  '_orig_mod',
  '_fsdp_wrapped_module',
  '_checkpoint_wrapped_module',
  '_forward_module',
]);
/** What the layers' list is called, and where the published names have it. */
const LAYERS = 'module_list';
const PUBLISHED = ['model', 'decoder'];
/** Counters of modules and optimizers, which are no weights whatever their format. */
const COUNTER = /(?:^|[._])(?:step|steps|num_batches_tracked|n_averaged|num_updates|decay|epoch)$/;
/** Folders of names for averaged copies that are not named as the weights are. */
const AVERAGED = /(?:^|_)(?:ema|swa|averaged?|shadow)(?:_|$)/i;
/** Names of one process's part of the weights: FSDP's flat parameters, ZeRO's groups. */
const FLAT_PART =
  /(?:^|[._])flat_params?(?:_\d+)?$|(?:^|\.)(?:fp32_flat_groups|single_partition_of_fp32_groups)(?:\.|$)/;
/** Names that quantisation gives: GPTQ and AWQ, bitsandbytes, PyTorch's own. */
const PACKED = /\.(?:qweight|qzeros|SCB|absmax|quant_map|_packed_params)(?:\.|$)/;
/** What the outermost dict is called where a key is asked for. */
const OUTERMOST = '.';
/** Most names that a message lists. */
const MAX_LISTED = 6;

const refuse = modelErrors.checkpoint;

type Named = StateDictEntry & {
  /** The name's parts without wrappers. */
  readonly parts: readonly string[];
};
type Candidate = {
  readonly key: string;
  readonly root: readonly string[];
  readonly members: readonly Named[];
};
type Fit = { readonly candidate: Candidate; readonly decoder: Omit<FoundDecoder, 'notes'> };

/**
 * Finds the decoder in a checkpoint: layers as spec §2.5 names them, behind any prefix, alone or beside optimizers, copies
 * and counters. `accepts` throws for an architecture that does not go with the base. Of several that fit, `key` names one
 * (`ema`, or `.` for the outermost dict). Errors: `checkpoint-invalid` naming the tensor that is missing or too many where
 * there is one decoder, the keys to choose from where there are several.
 */
export function findDecoder(
  { entries, others = [] }: Pick<StateDict, 'entries' | 'others'>,
  options: { accepts: (architecture: DecoderArchitecture) => void; key?: string },
): FoundDecoder {
  const named = entries.map((entry): Named => ({ ...entry, parts: partsOf(entry.name) }));
  const found = candidatesIn(named);
  const candidates = options.key === undefined ? found : found.filter((one) => matches(one, options.key!));
  const fits: Fit[] = [];
  const failures: LoradropError[] = [];
  for (const candidate of candidates) {
    try {
      const decoder = fit(candidate, named, found);
      options.accepts(decoder.architecture);
      fits.push({ candidate, decoder });
    } catch (error) {
      if (!(error instanceof LoradropError)) throw error;
      failures.push(error);
    }
  }
  const [only] = fits;
  if (only && fits.length === 1) {
    return { ...only.decoder, notes: notesOf(only, { named, others, found }) };
  }
  const shown = (list: readonly Candidate[]) => list.map(({ key }) => key || OUTERMOST).join(', ');
  if (fits.length > 1) {
    throw refuse(
      `${fits.length} state dicts of the checkpoint fit: ${shown(fits.map(({ candidate }) => candidate))}. ` +
        'Choose one with --state-dict KEY.',
    );
  }
  const reason = unusable(named, others);
  if (reason !== undefined) throw refuse(reason, { cause: failures[0] });
  if (failures.length === 1) throw failures[0]!;
  if (failures.length > 1) {
    throw refuse(`None of the state dicts ${shown(candidates)} fits. The first: ${failures[0]!.message}`, {
      cause: failures[0],
    });
  }
  if (options.key !== undefined && found.length > 0) {
    throw refuse(`The checkpoint has no decoder under that key; there is ${shown(found)}.`);
  }
  throw refuse(whatElse(named));
}

function partsOf(name: string): readonly string[] {
  return name.split('.').filter((part) => !WRAPPERS.has(part));
}

/** The groups of tensors of which each is a list of layers with everything that belongs to it. */
function candidatesIn(named: readonly Named[]): readonly Candidate[] {
  const prefixes = new Map<string, readonly string[]>();
  for (const { parts } of named) {
    const at = layersAt(parts);
    if (at >= 0) prefixes.set(parts.slice(0, at).join('.'), parts.slice(0, at));
  }
  return [...prefixes.values()].map((prefix) => {
    const root = rootOf(prefix);
    const members = named.filter((entry) => {
      const at = layersAt(entry.parts);
      return at === prefix.length && startsWith(entry.parts, prefix);
    });
    return { key: root.join('.'), root, members };
  });
}

/** Where in a name the list of layers begins, or -1. */
function layersAt(parts: readonly string[]): number {
  return parts.findIndex((part, index) => part === LAYERS && /^\d{1,4}$/.test(parts[index + 1] ?? ''));
}

/** What stands before the published name `model.decoder`, of which a part may be missing. */
function rootOf(prefix: readonly string[]): readonly string[] {
  const [model, decoder] = PUBLISHED;
  if (prefix.at(-1) !== decoder) return prefix;
  return prefix.slice(0, prefix.at(-2) === model ? -2 : -1);
}

function startsWith(parts: readonly string[], prefix: readonly string[]): boolean {
  return prefix.every((part, index) => parts[index] === part);
}

function matches({ key, members }: Candidate, wanted: string): boolean {
  if (wanted === OUTERMOST) return key === '';
  const [first] = members;
  return key === wanted || `${key}.`.startsWith(`${wanted}.`) || first!.name.startsWith(`${wanted}.`);
}

/** The candidate under its published names. Errors: as of {@link inferArchitecture}. */
function fit(candidate: Candidate, named: readonly Named[], found: readonly Candidate[]): Fit['decoder'] {
  const originals = new Map<string, string>();
  const renamed = [...candidate.members, ...companionsOf(candidate, named, found)].map((entry) => {
    const at = layersAt(entry.parts);
    const own = at >= 0 ? [...PUBLISHED, ...entry.parts.slice(at)] : entry.parts.slice(candidate.root.length);
    const name = own.join('.');
    if (originals.has(name))
      throw refuse(`Tensor ${name} is there twice, with and without a wrapper's prefix.`);
    originals.set(name, entry.name);
    return { name, dtype: entry.dtype, shape: entry.shape };
  });
  const { architecture, names } = inferArchitecture(renamed);
  return {
    architecture,
    names: new Map([...names].map(([published, own]) => [published, originals.get(own)!])),
    key: candidate.key,
  };
}

/** Tensors beside the layers that belong to the same model: its length projection, and what it should not have. */
function companionsOf(
  { root, members }: Candidate,
  named: readonly Named[],
  found: readonly Candidate[],
): readonly Named[] {
  const dicts = new Set(members.map(({ dict = '' }) => dict));
  const inner = found.filter((one) => one.root.length > root.length && startsWith(one.root, root));
  const taken = new Set(found.flatMap((one) => one.members.map(({ name }) => name)));
  return named.filter((entry) => {
    if (taken.has(entry.name) || !startsWith(entry.parts, root)) return false;
    if (inner.some((one) => startsWith(entry.parts, one.root))) return false;
    const own = entry.parts.slice(root.length);
    if (/^(?:down|gate)_proj$/.test(own[0] ?? '')) return own.length === 2;
    return dicts.has(entry.dict ?? '') && !isBeside(entry, own);
  });
}

/** Counters, numbers that stand alone, and averaged copies under names of their own. */
function isBeside({ name, dtype, shape }: Named, own: readonly string[]): boolean {
  const isScalar = shape.length === 0;
  return COUNTER.test(name) || isScalar || !/^(?:B?F|C)\d/.test(dtype) || AVERAGED.test(own[0] ?? '');
}

function notesOf(
  { candidate, decoder }: Fit,
  all: { named: readonly Named[]; others: readonly string[]; found: readonly Candidate[] },
): readonly string[] {
  const used = new Set(decoder.names.values());
  const notes: string[] = [];
  if (candidate.key !== '') notes.push(`Taken: the ${used.size} tensors under ${candidate.key}.`);
  const double = all.named.filter(({ name, dtype }) => used.has(name) && dtype === 'F64');
  if (double.length > 0) notes.push(`Converted from float64 to float32: ${double.length} tensors.`);
  const left = [...all.named.filter(({ name }) => !used.has(name)).map(({ name }) => name), ...all.others];
  if (left.length > 0) notes.push(`Left out: ${grouped(left)}.`);
  return notes;
}

/** Names by their first part, with how many there are: `optimizer (42), epoch`. */
function grouped(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) {
    const [first] = name.split('.', 1);
    // A flat state dict's own names say more than their common beginning.
    const group = names.length <= MAX_LISTED ? name : first!;
    counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  const listed = [...counts].slice(0, MAX_LISTED).map(([group, count]) => {
    return `${JSON.stringify(group).slice(1, -1)}${count > 1 ? ` (${count} entries)` : ''}`;
  });
  const more = counts.size - listed.length;
  return `${listed.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** Why a checkpoint cannot be imported whatever its shapes, as far as names tell: it is not whole, or it is quantised. */
function unusable(named: readonly Named[], others: readonly string[]): string | undefined {
  const has = (pattern: RegExp) =>
    named.some(({ name }) => pattern.test(name)) || others.some((name) => pattern.test(name));
  if (has(FLAT_PART)) {
    return (
      'The checkpoint holds one process’s part of the weights as a flat run of numbers (FSDP or ZeRO). ' +
      'Gather the full state dict first, and save it with torch.save.'
    );
  }
  // Weights that are no tensors are in formats that training does not use.
  const isPacked = others.some((name) => layersAt(partsOf(name)) >= 0);
  return isPacked || has(PACKED)
    ? 'The checkpoint is quantised. Save the weights in f32, f16 or bf16.'
    : undefined;
}

/** What a checkpoint without a decoder's layers is. */
function whatElse(named: readonly Named[]): string {
  if (named.some(({ name }) => /\.lora_[AB]\./.test(name))) {
    return 'The checkpoint is a LoRA adapter, not the decoder that makes adapters.';
  }
  const names = named.slice(0, MAX_LISTED).map(({ name }) => JSON.stringify(name.slice(0, 100)).slice(1, -1));
  return (
    'There is no tensor of a decoder layer (model.decoder.module_list.0…) in the checkpoint. ' +
    (names.length > 0
      ? `It has ${names.join(', ')}${named.length > names.length ? ' …' : ''}.`
      : 'It has no tensors.')
  );
}
