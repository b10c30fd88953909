/** How the application ends: streams and waits at once, downloads after a grace, no connection left over. */
import type { App } from '../services.ts';

/** How long answers under way may go on once the application closes: most of a large adapter over a fair line. */
const CLOSE_GRACE_MS = 10_000;

/** Answers the signal that aborts when the application begins to close. */
export function installClosing(app: App): AbortSignal {
  const closing = new AbortController();
  let grace: NodeJS.Timeout | undefined;
  app.addHook('preClose', async () => {
    closing.abort();
    grace = setTimeout(() => app.server.closeAllConnections(), CLOSE_GRACE_MS);
  });
  // The server drops connections that are idle when it closes; those that become idle later would be kept for a minute.
  app.addHook('onResponse', async () => {
    if (closing.signal.aborted) setImmediate(() => app.server.closeIdleConnections());
  });
  app.addHook('onClose', async () => clearTimeout(grace));
  return closing.signal;
}
