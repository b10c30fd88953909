import type { Command } from 'commander';
import type { Output } from './output.ts';

/** Adds a command to the program. */
export type Registration = (program: Command, output: Output) => void;
