/** Messages, events and actions as records by type, so that a type without a handler does not compile. */

/** One of the records in `Records`, which carries the record's key as `type`. */
export type Tagged<Records> = {
  [Type in keyof Records]: { readonly type: Type } & Records[Type];
}[keyof Records];

/** One function for each type of record. */
export type Handlers<Records, Result = void, Rest extends readonly unknown[] = []> = {
  readonly [Type in keyof Records]: (record: Records[Type], ...rest: Rest) => Result;
};

/** Calls the handler of the record's type. */
export function handle<Records, Result, Rest extends readonly unknown[]>(
  handlers: Handlers<Records, Result, Rest>,
  record: Tagged<Records>,
  ...rest: Rest
): Result {
  return handlers[record.type](record, ...rest);
}
