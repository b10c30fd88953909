/** A receiver's address as its owner may see it again: without the password, which only the receiver has to see. */
export function shownUrl(text: string): string {
  const url = new URL(text);
  if (url.password !== '') url.password = '***';
  return url.href;
}

/** What logs and the gate know a receiver by: addresses may carry secrets anywhere but here. */
export function originOf(text: string): string {
  return new URL(text).origin;
}
