/** From nothing to a ready engine, as a service starts: verify the bundle, start the inference process, load. */
import { openBundle } from '../src/models/open.ts';
import { openVerifiedFiles } from '../src/models/verified-files.ts';
import { openEngine } from './open-engine.ts';

/** What it tells its parent when the engine is ready. */
export type Started = { readonly verifyMs: number; readonly loadMs: number };

const [directory, device, threads, verifiedList] = process.argv.slice(2) as [string, string, string, string];
const startedAt = performance.now();
const verified = await openVerifiedFiles(verifiedList);
const bundle = await openBundle(directory, { verified });
await verified.save();
const verifiedAt = performance.now();
const engine = await openEngine({ device, threads: Number(threads) });
try {
  await engine.load(bundle);
  process.send!({
    verifyMs: verifiedAt - startedAt,
    loadMs: performance.now() - verifiedAt,
  } satisfies Started);
} finally {
  await engine.close();
  process.disconnect();
}
