/** How much faster than PyTorch does a condition become an adapter’s file, and where does the time go? */
import { type Benchmark, gibibytes, median, relative, spread } from './report.ts';
import { compareSides, type Generation } from './side-by-side.ts';

export const generate: Benchmark = {
  question:
    'condition → a file of bf16 safetensors, the same weights and condition on both sides; with --encoder also prompts → condition; a difference is the largest of any tensor relative to its largest magnitude (one step of bf16 is up to 7.8e-3)',
  columns: ['part', 'size', 'runs', 'Loradrop', 'PyTorch', 'ratio', 'difference'],
  onRequest: true,
  async run(options) {
    const { manifest, loradrop, pytorch, differences, order, importing } = await compareSides(options);
    const row = (part: string, pick: (generation: Generation) => number, difference: string) => {
      const [ours, theirs] = [loradrop, pytorch].map(({ generations }) => generations.map(pick));
      return [
        part,
        manifest.id,
        `${options.runs}, ${order}`,
        spread(ours!, 's', 2),
        spread(theirs!, 's', 2),
        `${(median(theirs!) / median(ours!)).toFixed(2)}×`,
        difference,
      ];
    };
    const { between, files, encoder } = differences;
    const imported = importing && `${importing.seconds.toFixed(1)} s, ${gibibytes(importing.peakBytes)}`;
    return [
      ...(imported === undefined ? [] : [['import', manifest.id, '', imported, '', '', '']]),
      ...(encoder === undefined
        ? []
        : [row('prompts → condition', ({ encode }) => encode!, relative(encoder))]),
      row('condition → weight tokens', ({ decode }) => decode, relative(between)),
      row('weight tokens → file', ({ decode, whole }) => whole - decode, ''),
      row('condition → file', ({ whole }) => whole, relative(files)),
      ['peak memory', manifest.id, '', gibibytes(loradrop.peakBytes), gibibytes(pytorch.peakBytes), '', ''],
    ];
  },
};
