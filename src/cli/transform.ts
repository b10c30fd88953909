/** `loradrop transform`: adapter directories → one, by scaling, cutting and adding up. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Option } from 'commander';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { readStep, STEP_FORMS } from '../arithmetic/step-text.ts';
import type { TransformStep } from '../arithmetic/steps.ts';
import { transformAdapters } from '../arithmetic/transform.ts';
import { DTYPES, type Dtype } from '../base/dtype.ts';
import { openAdapterDirectory } from './adapter-directory.ts';
import { interruptible } from './interrupt.ts';
import { formatCount, type Output } from './output.ts';
import { openOutputDirectory, writeOutputFile } from './output-directory.ts';
import type { Registration } from './registration.ts';

type Term = { readonly directory: string; readonly weight: number };
type Options = {
  readonly adapter: readonly Term[];
  readonly step?: readonly TransformStep[];
  readonly out: string;
  readonly dtype?: Dtype;
};

export const registerTransform: Registration = (command, output) => {
  command
    .requiredOption(
      '--adapter <dir[=weight]>',
      'adapter directory, and what it is multiplied with; several are added up',
      (text, terms: readonly Term[] = []) => [...terms, readTerm(text)],
    )
    .option(
      '--step <step>',
      `what to do with the sum, in order: ${STEP_FORMS.join(', ')}`,
      (text, steps: readonly TransformStep[] = []) => [...steps, readStep(text)],
    )
    .requiredOption('--out <dir>', 'adapter directory to make')
    .addOption(
      new Option('--dtype <dtype>', 'format of the weights; absent: that of the first adapter').choices(
        DTYPES,
      ),
    )
    .addHelpText(
      'after',
      `
Examples:
  half as strong, rank 4:  loradrop transform --adapter ./a --step scale=0.5 --step rank=4 --out ./b
  the mean of two:         loradrop transform --adapter ./a=0.5 --adapter ./b=0.5 --step rank=8 --out ./mean`,
    )
    .action((options: Options) => interruptible((signal) => transform(options, output, signal)));
};

async function transform(options: Options, output: Output, signal: AbortSignal): Promise<void> {
  await using made = await openOutputDirectory(options.out);
  const sources = await Promise.all(
    options.adapter.map(async ({ directory, weight }) => ({
      ...(await openAdapterDirectory(directory)),
      weight,
    })),
  );
  const bar = output.progress('transforming');
  try {
    const { report, config, weights } = await transformAdapters(sources, options.step ?? [], {
      signal,
      ...(options.dtype && { dtype: options.dtype }),
      onProgress: (fraction) => bar.update(fraction, fraction < 0.5 ? 'reading' : 'writing'),
    });
    await writeOutputFile(join(made.path, ADAPTER_WEIGHTS_FILE), weights(), signal);
    await writeFile(join(made.path, ADAPTER_CONFIG_FILE), config, { flush: true });
    await made.publish();
    bar.stop();
    output.line(
      `${options.out}: rank ${report.rank}, alpha ${report.alpha}, ${report.tensors} tensors, ${formatCount(report.parameters)} parameters, ${report.dtype}; ${percent(report.energyKept)} of the energy kept`,
    );
  } finally {
    bar.stop();
  }
}

/** `DIR` or `DIR=WEIGHT`; a directory may have an equals sign in its name. */
function readTerm(text: string): Term {
  const [, directory, weight] = /^(.+)=([-+.\deE]+)$/.exec(text) ?? [];
  const number = Number(weight);
  return directory && Number.isFinite(number)
    ? { directory, weight: number }
    : { directory: text, weight: 1 };
}

const percent = (share: number) => `${(share * 100).toFixed(share > 0.999 && share < 1 ? 3 : 1)} %`;
