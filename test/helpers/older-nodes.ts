import { join } from 'node:path';
import { TOOLS_DIRECTORY } from './services.ts';

/** Older releases of Node that the package is tested on; test/setup-services.ts installs them. */
export const OLDER_NODES = ['20.20.2', '22.23.3'] as const;

/** The npm package that has a release of Node for this system. */
export const nodePackage = (version: string) => `node-${process.platform}-${process.arch}@${version}`;
/** Where a release is installed. */
export const nodeDirectory = (version: string) => join(TOOLS_DIRECTORY, `node-${version}`);
/** Its program. */
export const nodeProgram = (version: string) =>
  join(nodeDirectory(version), 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node');
