/** The Prefer header (RFC 7240). */

/**
 * Seconds of `wait=N`, capped at `maxWaitSeconds`, or undefined. What cannot be read counts as absent, as the RFC wants.
 */
export function preferredWaitSeconds(
  header: string | readonly string[] | undefined,
  maxWaitSeconds: number,
): number | undefined {
  const match = /(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:[,;]|$)/i.exec([header ?? ''].flat().join(','));
  return match ? Math.min(Number(match[1]), maxWaitSeconds) : undefined;
}
