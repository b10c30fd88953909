import type { Command } from 'commander';
import type { Output } from './output.ts';

/** Gives a command, which has its name and description already, its options and what it does. */
export type Registration = (command: Command, output: Output) => void;
