/**
 * A pickle machine that cannot do anything: it builds numbers, text and containers, and everything else a pickle may ask
 * for is either in the caller's table, passed over as a name (`inert.ts`), or refused by name. Opcodes as in CPython's
 * `pickletools`.
 */
import { modelErrors } from '../../../errors.ts';
import { inertGlobal, isInert, reasonAgainst } from './inert.ts';
import { shown } from './shown.ts';

/**
 * Largest pickle: a tensor takes 150 bytes and its name, so this holds 8,000 of them; the published decoders have about 80.
 * No opcode makes more than one value, so it bounds the memory too: half a GiB, were every byte an empty dict (measured).
 */
export const MAX_PICKLE_BYTES = 2 << 20;
/** Most values on the stack: a pickler hands containers over in batches of a thousand. */
const MAX_STACK_VALUES = 65_536;
/** Most remembered values: a tensor has eight. */
const MAX_MEMO_ENTRIES = 131_072;
/** Most containers open at once; a checkpoint nests about six. */
const MAX_NESTING = 64;
/** Longest name of a global's module, or of the global in it. */
const MAX_GLOBAL_CHARACTERS = 256;
/** Longest integer; PyTorch's magic number has ten bytes. */
const MAX_INTEGER_BYTES = 16;

/** What a pickle may use beside plain values. */
export type PickleRules = {
  /**
   * Allowed globals by dotted name. A function is called by the pickle with a list of arguments and checks them itself;
   * any other value stands for itself.
   */
  readonly globals: ReadonlyMap<string, unknown>;
  /** The object behind a persistent id; refused when absent. */
  readonly persistentLoad?: (id: unknown) => unknown;
};

type Callable = (args: readonly unknown[]) => unknown;

type Machine = {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly rules: PickleRules;
  readonly stack: unknown[];
  /** Heights of the stack at which open containers begin. */
  readonly marks: number[];
  readonly memo: Map<number, unknown>;
  at: number;
};

const refuse = modelErrors.checkpoint;

/**
 * Runs the pickle that begins at `start` and returns its value and the place behind it. Lists and tuples become arrays,
 * dicts become Maps, sets arrays, None null, integers numbers where these are exact and bigints beyond, and training's
 * bookkeeping the names of its classes. Errors: `checkpoint-invalid` for any other global out of the table (named), another
 * opcode than `torch.save` writes, anything malformed or beyond the limits.
 */
export function unpickle(
  bytes: Uint8Array,
  rules: PickleRules,
  start = 0,
): { readonly value: unknown; readonly end: number } {
  const machine: Machine = {
    bytes,
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    rules,
    stack: [],
    marks: [],
    memo: new Map(),
    at: start,
  };
  for (;;) {
    const opcode = bytes[take(machine, 1)]!;
    if (opcode === STOP) {
      const value = pop(machine);
      if (machine.stack.length > 0) throw refuse('The pickle ends in the middle of a value.');
      return { value, end: machine.at };
    }
    const operation = OPERATIONS.get(opcode);
    if (!operation) {
      throw refuse(
        `The pickle uses the opcode 0x${opcode.toString(16).padStart(2, '0')}, which torch.save never writes for tensors.`,
      );
    }
    operation(machine);
  }
}

const STOP = 0x2e;

const OPERATIONS: ReadonlyMap<number, (machine: Machine) => void> = new Map([
  [0x80, protocol],
  // FRAME: its length only helps readers that buffer.
  [0x95, (machine) => take(machine, 8)],
  // NONE, NEWTRUE, NEWFALSE
  [0x4e, (machine) => push(machine, null)],
  [0x88, (machine) => push(machine, true)],
  [0x89, (machine) => push(machine, false)],
  // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
  [0x4a, (machine) => push(machine, machine.view.getInt32(take(machine, 4), true))],
  [0x4b, (machine) => push(machine, uint8(machine))],
  [0x4d, (machine) => push(machine, machine.view.getUint16(take(machine, 2), true))],
  [0x8a, (machine) => push(machine, integer(machine, uint8(machine)))],
  [0x8b, (machine) => push(machine, integer(machine, uint32(machine)))],
  [0x47, (machine) => push(machine, machine.view.getFloat64(take(machine, 8)))],
  // BINUNICODE, SHORT_BINUNICODE, BINBYTES, SHORT_BINBYTES, and with lengths of eight bytes BINUNICODE8, BINBYTES8, BYTEARRAY8
  [0x58, (machine) => push(machine, text(machine, uint32(machine)))],
  [0x8c, (machine) => push(machine, text(machine, uint8(machine)))],
  [0x42, (machine) => push(machine, blob(machine, uint32(machine)))],
  [0x43, (machine) => push(machine, blob(machine, uint8(machine)))],
  [0x8d, (machine) => push(machine, text(machine, uint64(machine)))],
  [0x8e, (machine) => push(machine, blob(machine, uint64(machine)))],
  [0x96, (machine) => push(machine, blob(machine, uint64(machine)))],
  // EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET, MARK
  [0x7d, (machine) => push(machine, new Map())],
  [0x5d, (machine) => push(machine, [])],
  [0x29, (machine) => push(machine, [])],
  [0x8f, (machine) => push(machine, [])],
  [0x28, mark],
  // TUPLE, FROZENSET, TUPLE1, TUPLE2, TUPLE3
  [0x74, (machine) => push(machine, popToMark(machine))],
  [0x91, (machine) => push(machine, popToMark(machine))],
  [0x85, (machine) => push(machine, popMany(machine, 1))],
  [0x86, (machine) => push(machine, popMany(machine, 2))],
  [0x87, (machine) => push(machine, popMany(machine, 3))],
  // APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
  [0x61, (machine) => append(machine, popMany(machine, 1))],
  [0x65, (machine) => append(machine, popToMark(machine))],
  [0x90, (machine) => append(machine, popToMark(machine))],
  [0x73, (machine) => setItems(machine, popMany(machine, 2))],
  [0x75, (machine) => setItems(machine, popToMark(machine))],
  // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
  [0x71, (machine) => remember(machine, uint8(machine))],
  [0x72, (machine) => remember(machine, uint32(machine))],
  [0x94, (machine) => remember(machine, machine.memo.size)],
  [0x68, (machine) => recall(machine, uint8(machine))],
  [0x6a, (machine) => recall(machine, uint32(machine))],
  // GLOBAL, STACK_GLOBAL, REDUCE, NEWOBJ, NEWOBJ_EX, BUILD, BINPERSID
  [0x63, (machine) => findGlobal(machine, line(machine), line(machine))],
  [0x93, stackGlobal],
  [0x52, reduce],
  [0x81, (machine) => create(machine, 1)],
  [0x92, (machine) => create(machine, 2)],
  [0x62, build],
  [0x51, persistent],
]);

/** Moves on by `length` bytes and returns the place they begin at. */
function take(machine: Machine, length: number): number {
  const from = machine.at;
  if (from + length > machine.bytes.length)
    throw refuse('The pickle is cut off, or larger than can be read.');
  machine.at += length;
  return from;
}

function push(machine: Machine, value: unknown): void {
  if (machine.stack.length >= MAX_STACK_VALUES) {
    throw refuse(`The pickle puts more than ${MAX_STACK_VALUES} values on its stack.`);
  }
  machine.stack.push(value);
}

/** The uppermost value; a container's beginning is a floor below which nothing can be taken. */
function pop(machine: Machine): unknown {
  if (machine.stack.length <= (machine.marks.at(-1) ?? 0))
    throw refuse('The pickle takes a value it does not have.');
  return machine.stack.pop();
}

function popMany(machine: Machine, count: number): unknown[] {
  return Array.from({ length: count }, () => pop(machine)).reverse();
}

function popToMark(machine: Machine): unknown[] {
  const height = machine.marks.pop();
  if (height === undefined) throw refuse('The pickle closes a container it has not opened.');
  return machine.stack.splice(height);
}

function mark(machine: Machine): void {
  if (machine.marks.length >= MAX_NESTING)
    throw refuse(`The pickle nests deeper than ${MAX_NESTING} containers.`);
  machine.marks.push(machine.stack.length);
}

function protocol(machine: Machine): void {
  const version = uint8(machine);
  if (version < 2 || version > 5) throw refuse(`The pickle has protocol ${version}; 2 to 5 can be read.`);
}

function uint8(machine: Machine): number {
  return machine.bytes[take(machine, 1)]!;
}

function uint32(machine: Machine): number {
  return machine.view.getUint32(take(machine, 4), true);
}

function uint64(machine: Machine): number {
  const value = machine.view.getBigUint64(take(machine, 8), true);
  // Longer than any pickle that is read, so that `take` refuses it.
  return value > BigInt(MAX_PICKLE_BYTES) ? MAX_PICKLE_BYTES + 1 : Number(value);
}

/** A little-endian integer in two's complement. */
function integer(machine: Machine, length: number): number | bigint {
  if (length > MAX_INTEGER_BYTES) throw refuse(`The pickle holds an integer of ${length} bytes.`);
  const from = take(machine, length);
  const bytes = machine.bytes.subarray(from, from + length);
  const unsigned = bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  const value = BigInt.asIntN(length * 8, unsigned);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function text(machine: Machine, length: number): string {
  const bytes = blob(machine, length);
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw refuse('The pickle holds text that is not UTF-8.', { cause });
  }
}

function blob(machine: Machine, length: number): Uint8Array {
  const from = take(machine, length);
  return machine.bytes.subarray(from, from + length);
}

function line(machine: Machine): string {
  const end = machine.bytes.indexOf(0x0a, machine.at);
  const length = end - machine.at;
  if (end < 0 || length > MAX_GLOBAL_CHARACTERS) {
    throw refuse(`The pickle asks for a global whose name has no end within ${MAX_GLOBAL_CHARACTERS} bytes.`);
  }
  const name = text(machine, length);
  take(machine, 1);
  return name;
}

function append(machine: Machine, values: readonly unknown[]): void {
  const list = machine.stack.at(-1);
  if (isInert(list)) return;
  if (!Array.isArray(list)) throw refuse('The pickle appends to something that is no list.');
  for (const value of values) list.push(value);
}

function setItems(machine: Machine, keysAndValues: readonly unknown[]): void {
  const dict = machine.stack.at(-1);
  if (isInert(dict)) return;
  if (!(dict instanceof Map) || keysAndValues.length % 2 !== 0) {
    throw refuse('The pickle sets items of something that is no dict.');
  }
  for (let i = 0; i < keysAndValues.length; i += 2) dict.set(keysAndValues[i], keysAndValues[i + 1]);
}

function remember(machine: Machine, key: number): void {
  if (machine.memo.size >= MAX_MEMO_ENTRIES) {
    throw refuse(`The pickle remembers more than ${MAX_MEMO_ENTRIES} values.`);
  }
  const value = pop(machine);
  machine.stack.push(value);
  machine.memo.set(key, value);
}

function recall(machine: Machine, key: number): void {
  if (!machine.memo.has(key)) throw refuse('The pickle recalls a value it has not remembered.');
  push(machine, machine.memo.get(key));
}

function findGlobal(machine: Machine, module: string, name: string): void {
  const dotted = `${module}.${name}`;
  const { globals } = machine.rules;
  const found = globals.has(dotted) ? globals.get(dotted) : inertGlobal(dotted);
  if (found === undefined) throw refuse(`The pickle asks for ${shown(dotted)}, ${reasonAgainst(dotted)}.`);
  push(machine, found);
}

function stackGlobal(machine: Machine): void {
  const [module, name] = popMany(machine, 2);
  if (typeof module !== 'string' || typeof name !== 'string') {
    throw refuse('The pickle asks for a global without a name.');
  }
  findGlobal(machine, module, name);
}

function reduce(machine: Machine): void {
  const [callable, args] = popMany(machine, 2);
  if (isInert(callable)) {
    push(machine, callable);
    return;
  }
  if (typeof callable !== 'function' || !Array.isArray(args)) {
    throw refuse('The pickle calls something that is no function.');
  }
  push(machine, (callable as Callable)(args));
}

/** An object made of its class and arguments, which can only be bookkeeping. */
function create(machine: Machine, argumentLists: 1 | 2): void {
  const [type] = popMany(machine, 1 + argumentLists);
  if (!isInert(type)) throw refuse('The pickle makes an object of something that is no class.');
  push(machine, type);
}

function build(machine: Machine): void {
  pop(machine);
  const target = pop(machine);
  // A state dict carries the versions of its modules as an attribute, which no number depends on.
  if (!(target instanceof Map || isInert(target)))
    throw refuse('The pickle gives attributes to something that is no dict.');
  push(machine, target);
}

function persistent(machine: Machine): void {
  const { persistentLoad } = machine.rules;
  if (!persistentLoad) throw refuse('The pickle refers to an object outside of it.');
  push(machine, persistentLoad(pop(machine)));
}
