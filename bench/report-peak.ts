/** Loaded with --import into a process that is measured: writes its peak memory in bytes to file descriptor 3 at its end. */
import { writeSync } from 'node:fs';
import { processMemory } from '../src/inference/process-memory.ts';

process.on('exit', () => writeSync(3, String(processMemory().peakResidentBytes)));
