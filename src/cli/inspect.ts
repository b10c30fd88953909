/** `loradrop inspect FILE`: the header of a safetensors file. */
import { stat } from 'node:fs/promises';
import { openSafetensors } from '../adapter/safetensors.ts';
import { formatBytes, formatCount, formatTable } from './output.ts';
import type { Registration } from './registration.ts';

export const registerInspect: Registration = (command, output) => {
  command
    .argument('<file>')
    .option('--json', 'as JSON')
    .action(async (file: string, options: { json?: boolean }) => {
      await using opened = await openSafetensors(file);
      const { tensors, metadata } = opened.header;
      if (options.json) {
        output.line(JSON.stringify({ metadata, tensors }, null, 2));
        return;
      }
      output.line(
        formatTable([
          ['name', 'dtype', 'shape'],
          ...tensors.map(({ name, dtype, shape }) => [name, dtype, `[${shape.join(', ')}]`]),
        ]),
      );
      const parameters = tensors.reduce(
        (sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1),
        0,
      );
      output.line();
      output.line(
        `${formatCount(tensors.length)} tensors, ${formatCount(parameters)} numbers, ${formatBytes((await stat(file)).size)}, metadata ${JSON.stringify(metadata)}`,
      );
    });
};
