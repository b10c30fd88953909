import { type Test, test } from 'tap';
import type { StorePlace } from './store.ts';
import type { DefaultStore } from './store-samples.ts';

/** Declares tests that get a store each, inside `parent` where one is named; `makePlace` is called once a test. */
export function storeTests(kind: string, makePlace: (t: Test) => Promise<StorePlace>, parent?: Test) {
  const declared: PromiseLike<unknown>[] = [];
  return {
    /** The tests so far. */
    declared,
    declare(title: string, body: (t: Test, store: DefaultStore, place: StorePlace) => Promise<void>) {
      declared.push(
        (parent?.test ?? test)(`${kind}: ${title}`, async (t) => {
          const place = await makePlace(t);
          const store = await place.open();
          t.teardown(() => store.close());
          await body(t, store, place);
        }),
      );
    },
  };
}
