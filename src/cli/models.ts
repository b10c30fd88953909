/** `loradrop models list | pull | served | verify | inspect`: bundles on disk, and those of a running service. */
import { Argument } from 'commander';
import { bundlesDirectory } from '../compose/directories.ts';
import { bundleMemory, PROCESS_BYTES } from '../inference/bundle-memory.ts';
import { UNTRAINED } from '../models/bundle.ts';
import { modelErrors } from '../models/errors.ts';
import { EVALUATION_METRICS, gainShares } from '../models/evaluation.ts';
import { parseHubAddress } from '../models/hub/address.ts';
import { pullRepository } from '../models/hub/pull-repository.ts';
import { commercialUseWord } from '../models/licence.ts';
import type { BundleManifest } from '../models/manifest.ts';
import { openBundle } from '../models/open.ts';
import { openModelRegistry } from '../models/registry.ts';
import { SHIPPED_BUNDLE } from '../models/shipped.ts';
import { createByteProgress } from './byte-progress.ts';
import {
  evaluationSummary,
  evaluationTable,
  METRIC_NAMES,
  sharesText,
  wrapText,
} from './evaluation-table.ts';
import { interruptible } from './interrupt.ts';
import { formatBytes, formatCount, formatTable } from './output.ts';
import { planSummary, planTable } from './plan-table.ts';
import { pullBundles } from './pull-bundles.ts';
import type { Registration } from './registration.ts';
import { addServiceOptions, type ServiceOptions, withService } from './service-client.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';

/** What the families of generators are called. */
const FAMILY_NAMES: Readonly<Record<BundleManifest['family'], string>> = {
  dnd: 'Drag-and-Drop',
  t2l: 'Text-to-LoRA',
};

function conditionText({ pooling, prompts, tokens, width }: BundleManifest['condition']): string {
  return pooling === 'none'
    ? `${prompts} prompts × ${tokens} tokens × ${width}`
    : `one text of at most ${tokens} tokens, ${width} numbers`;
}

/** What `models pull` may be told besides an address. */
type PullOptions = {
  readonly out?: string;
  readonly include?: readonly string[];
  readonly manifests?: true;
};

/** A bundle directory that a command may be given. */
function bundleArgument(): Argument {
  return new Argument('[dir]', 'bundle directory').default(
    SHIPPED_BUNDLE,
    'the one that comes with Loradrop',
  );
}

export const registerModels: Registration = (models, output) => {
  addSettingOptions(models.command('list').description('List the bundles of the bundles directory.'), [
    'dataDir',
    'bundlesDir',
    'defaultModel',
    'encodeTokenBudget',
  ])
    .option('--json', 'as JSON')
    .action(async (options: { json?: true }) => {
      const config = configFromOptions(options);
      const registry = await openModelRegistry({
        directory: bundlesDirectory(config),
        fallback: SHIPPED_BUNDLE,
        ...(config.defaultModel === undefined ? {} : { defaultId: config.defaultModel }),
      });
      const bundles = registry.list();
      if (options.json) {
        output.line(
          JSON.stringify(
            {
              models: bundles.map(({ manifest, digest }) => ({ digest, ...manifest })),
              problems: registry.problems,
            },
            null,
            2,
          ),
        );
        return;
      }
      const isShipped = bundles[0]?.directory === SHIPPED_BUNDLE;
      if (bundles.length === 0 || isShipped) output.line(`no bundle in ${bundlesDirectory(config)}`);
      if (isShipped) output.line('served in its place, the one that comes with Loradrop:');
      if (bundles.length > 0) {
        const rows = bundles.map(({ manifest }) => [
          manifest.id,
          manifest.version,
          [
            manifest.trained ? 'trained' : UNTRAINED,
            ...(manifest.evaluation ? [evaluationSummary(manifest.evaluation)] : []),
          ].join(', '),
          manifest.base.id,
          manifest.family === 't2l' ? 'a description' : `${manifest.condition.prompts} prompts`,
          formatBytes(manifest.files.reduce((sum, { bytes }) => sum + bytes, 0)),
          formatBytes(PROCESS_BYTES + bundleMemory(manifest, config)),
        ]);
        output.line(
          formatTable([['id', 'version', 'weights', 'base', 'condition', 'size', 'memory'], ...rows]),
        );
      }
      for (const { name, reason } of registry.problems) output.line(`! ${name}: ${reason}`);
    });

  addSettingOptions(
    models
      .command('pull')
      .description(
        'Fetch a bundle, or an encoder or a checkpoint to import, from a Hugging Face Hub; a bundle also from a web server, object storage or a directory. Without an address, the bundles directory is made to have what BUNDLES and SUPERSEDED_BUNDLES name. A pull that was interrupted goes on where it stopped.',
      )
      .argument(
        '[address]',
        'hf://owner/name or hf://datasets/owner/name, with @revision for another than main; for a bundle also https://host/directory, s3://bucket/prefix or a directory; @sha256:DIGEST at the end insists on that bundle',
      ),
    [
      'dataDir',
      'bundlesDir',
      'bundleCacheDir',
      'bundles',
      'supersededBundles',
      'hfEndpoint',
      'hfToken',
      's3ForcePathStyle',
    ],
  )
    .option('--manifests', 'bundle.json and no other file: enough for `serve`')
    .option(
      '--out <dir>',
      'directory to make, with hf:// (default for a bundle: its name in the bundles directory)',
    )
    .option(
      '--include <pattern>',
      'files to take, such as "onnx/model_quantized.onnx" or "**/*.json"; may be given several times (default: a bundle’s files; an encoder’s ONNX model and tokenizer; else all checkpoints)',
      (pattern: string, before: readonly string[] = []) => [...before, pattern],
    )
    .action(async (address: string | undefined, options: PullOptions) => {
      const config = configFromOptions(options);
      const toHub = address?.startsWith('hf:') && !address.includes('@sha256:') && !options.manifests;
      if (address === undefined || !toHub) {
        if (options.out !== undefined || options.include !== undefined) {
          throw modelErrors.repository('--out and --include go with an hf:// address that has no @sha256.');
        }
        await pullBundles({ address, config, manifestsOnly: options.manifests ?? false, output });
        return;
      }
      const bar = output.progress('pulling');
      const show = createByteProgress(bar);
      const pulled = await interruptible(
        (signal) =>
          pullRepository({
            address: parseHubAddress(address),
            endpoint: config.hfEndpoint,
            token: config.hfToken,
            bundlesDirectory: bundlesDirectory(config),
            ...(options.out === undefined ? {} : { out: options.out }),
            ...(options.include === undefined ? {} : { include: options.include }),
            signal,
            onProgress: ({ step, path, doneBytes, totalBytes }) => show(path ?? step, doneBytes, totalBytes),
          }),
        { left: 'the same command goes on from what is there' },
      ).finally(() => bar.stop());
      const { directory, commit, files, bundle } = pulled;
      output.line(`${directory}: ${files.length} files of commit ${commit}, digests as the Hub says`);
      if (bundle) {
        const { manifest, digest } = bundle;
        output.line(`${manifest.id} ${manifest.version}, bundle verified, digest ${digest}`);
        if (!manifest.trained) output.line(UNTRAINED);
      }
    });

  addServiceOptions(
    models
      .command('served')
      .description('List the models of a running service.')
      .option('--json', 'as JSON, a model a line'),
  ).action((options: ServiceOptions & { json?: true }) =>
    withService(options, async (client, signal) => {
      const served = await client.listModels({ signal });
      if (options.json) for (const model of served) output.line(JSON.stringify(model));
      else if (served.length === 0) output.line('no model');
      else {
        const rows = served.map((model) => [
          model.id,
          model.trained ? 'trained' : UNTRAINED,
          model.base.id,
          model.takes === 'description' ? 'a description' : `${model.condition.prompts} prompts`,
          model.default ? 'default' : '',
        ]);
        output.line(formatTable([['id', 'weights', 'base', 'condition', ''], ...rows]));
      }
    }),
  );

  models
    .command('verify')
    .description('Check every byte of a bundle.')
    .addArgument(bundleArgument())
    .action(async (directory: string) => {
      const { manifest, digest } = await openBundle(directory);
      output.line(
        `${manifest.id} ${manifest.version}: ${manifest.files.length} files as the manifest says, digest ${digest}`,
      );
    });

  models
    .command('inspect')
    .description('Show what a bundle is: its manifest, as JSON with --json.')
    .addArgument(bundleArgument())
    .option('--json', 'as JSON')
    .action(async (directory: string, options: { json?: true }) => {
      const { manifest, digest } = await openBundle(directory);
      if (options.json) {
        output.line(JSON.stringify(manifest, null, 2));
        return;
      }
      const { base, condition, dnd, encoder, evaluation, generator, layout } = manifest;
      output.line(
        formatTable([
          ['id', `${manifest.id} ${manifest.version}`],
          ['weights', manifest.trained ? 'trained' : UNTRAINED],
          ['digest', digest],
          ['base', `${base.id} (${base.architecture}), ${layout.layers} layers`],
          [
            'adapter',
            `rank ${layout.rank}, alpha ${layout.alpha}, ${layout.modules.map(({ path }) => path.split('.').pop()).join(' ')}`,
          ],
          ['family', FAMILY_NAMES[manifest.family]],
          ['condition', conditionText(condition)],
          [
            'generator',
            `${formatCount(generator.parameters)} parameters, ${formatCount(generator.multiplyAdds)} multiply-adds`,
          ],
          [
            'memory',
            `about ${formatBytes(generator.memoryBytes)} for the generator and ${formatBytes(encoder.memoryBytes)} for the encoder, before its runs`,
          ],
          ...(dnd
            ? [
                ['plan', planSummary(dnd, generator)],
                [
                  'cascade',
                  `kernel ${dnd.kernel}, ${dnd.features.map((feature) => `(${feature.join(',')})`).join(' → ')}`,
                ],
              ]
            : []),
          ['licence', manifest.licence.text],
          ['commercial use', commercialUseWord(manifest.licence)],
          ...(manifest.description ? [['description', manifest.description]] : []),
          ...manifest.provenance.map((sentence) => ['provenance', sentence]),
          ...manifest.files.map(({ name, bytes, sha256 }) => [
            'file',
            `${name}  ${formatBytes(bytes)}  ${sha256}`,
          ]),
        ]),
      );
      if (dnd?.plan.some(({ form }) => form.form === 'spectral')) {
        output.line();
        output.line(planTable(dnd.plan));
      }
      if (evaluation) {
        output.line('\nevaluation');
        for (const line of wrapText(evaluation.protocol)) output.line(line);
        output.line();
        output.line(evaluationTable(evaluation.rows));
        for (const metric of EVALUATION_METRICS) output.line(`${metric}: ${METRIC_NAMES[metric]}`);
        for (const [dataset, share] of gainShares(evaluation))
          output.line(`${dataset}: ${sharesText(share)}`);
      }
    });
};
