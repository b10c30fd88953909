#!/usr/bin/env node
// The package has JavaScript in dist/; a checkout has the sources alone, which Node 24 runs as they are.
import { existsSync } from 'node:fs';

const [main] = ['../src/main.ts', '../dist/main.js']
  .map((path) => new URL(path, import.meta.url))
  .filter(existsSync);
await import(main);
