/** A process that sets one name to adapters of its own. Arguments: a module, its function that opens a store, its options. */
import type { AdapterStore } from '../../src/store/store.ts';
import { defaultStore, patternBytes, sampleRecord } from './store-samples.ts';

const [module, name, options] = process.argv.slice(2);
const opened = (await import(module!)) as Record<string, (options: unknown) => Promise<AdapterStore>>;
const store = defaultStore(await opened[name!]!(JSON.parse(options!)));
for (let count = 0; count < 4; count++) {
  const draft = await store.draft(`child${count}`);
  await draft.write('weights.bin', [patternBytes(10, count)]);
  await store.names.set('counted', await draft.publish(sampleRecord()));
}
await store.close();
process.disconnect();
