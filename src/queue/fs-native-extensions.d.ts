/** The one function that is used of a package without types. */
declare module 'fs-native-extensions' {
  /** Locks bytes of an open file for writing; false where another open file has them locked. */
  export function tryLock(fd: number, offset: number, length: number): boolean;
}
