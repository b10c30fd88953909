/** What a process does: everything, the API alone, or the work alone. */
export type Role = 'all' | 'api' | 'worker';
