#!/usr/bin/env node
import './base/node-20.ts';
import { crashText } from './base/crash-text.ts';
import { runCli } from './cli/program.ts';

// A crash ends the process as ever. Node itself would also print what libraries attach to errors, such as a login.
process.on('uncaughtException', (error) => {
  process.stderr.write(`${crashText(error)}\n`);
  process.exit(1);
});

// `loradrop … | head` is done when head is: nobody is left to tell.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exitCode = await runCli(process.argv);
