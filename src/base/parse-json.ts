/** What a compiled schema can do, as TypeBox's `Compile` makes it. */
type Checker<T> = {
  Check(value: unknown): value is T;
  Errors(value: unknown): readonly { readonly instancePath: string; readonly message: string }[];
};

/**
 * Text of a file that an operator wrote → its value, in the form that the schema asks for. `refuse` makes the failure that is
 * thrown, of where and what is wrong and never of what is written there; a parser's own message, its cause, may quote the text.
 */
export function parseJson<T>(
  text: string,
  check: Checker<T>,
  refuse: (detail: string, cause?: unknown) => Error,
): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refuse('It is not JSON.', cause);
  }
  if (check.Check(value)) return value;
  const [first] = check.Errors(value);
  throw refuse(`At "${first?.instancePath ?? ''}" it ${first?.message ?? 'has another form'}.`);
}
