/**
 * A process that uses a store until it is killed. Arguments: a module, the name of its function that opens a store, that
 * function's options as JSON, and what to do:
 * - `hold ID`: writes an adapter, reports `written`, publishes when told so and reports `published`;
 * - `fill PREFIX`: publishes PREFIX0, PREFIX1 … and reports each id once it is published.
 */
import type { AdapterStore } from '../../src/store/store.ts';
import { defaultStore, patternBytes, sampleRecord } from './store-samples.ts';

const [module, name, options, task, argument] = process.argv.slice(2);
const opened = (await import(module!)) as Record<string, (options: unknown) => Promise<AdapterStore>>;
const store = defaultStore(await opened[name!]!(JSON.parse(options!)));
const report = (message: string) => new Promise((resolve) => process.send!(message, resolve));

async function write(id: string) {
  const draft = await store.draft(id);
  await draft.write('weights.bin', [patternBytes(300_000, id.length), patternBytes(7, 1)]);
  await draft.write('config.json', [new TextEncoder().encode('{}')]);
  return draft;
}

if (task === 'hold') {
  const draft = await write(argument!);
  const told = new Promise((resolve) => process.once('message', resolve));
  await report('written');
  await told;
  await draft.publish(sampleRecord());
  await report('published');
  process.disconnect();
} else {
  for (let count = 0; ; count++) {
    const id = `${argument}${count}`;
    await (await write(id)).publish(sampleRecord());
    await report(id);
  }
}
