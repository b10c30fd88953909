import { join } from 'node:path';

/** Directory of the bundle that comes with Loradrop. It is opened where it lies, and nothing writes there. */
export const SHIPPED_BUNDLE = join(import.meta.dirname, 'default');
