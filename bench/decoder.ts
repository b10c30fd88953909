/** How much faster than PyTorch does a condition become weight tokens, and how far apart are they? */
import { type Benchmark, gibibytes, median, relative, spread } from './report.ts';
import { compareSides, type SideFigures } from './side-by-side.ts';

export const decoder: Benchmark = {
  question:
    'condition → weight tokens, the same weights and condition on both sides; GFLOP/s are those of the direct arithmetic; a difference is the largest of any LoRA tensor relative to the tensor’s largest magnitude',
  columns: ['side', 'size', 'runs', 'seconds', 'ratio', 'GFLOP/s', 'peak memory', 'difference'],
  onRequest: true,
  async run(options) {
    const { manifest, loradrop, pytorch, differences, order } = await compareSides(options);
    const seconds = ({ generations }: SideFigures) => generations.map(({ decode }) => decode);
    const row = (side: SideFigures, errors: readonly string[]) => [
      side.name,
      manifest.id,
      `${options.runs}, ${order}`,
      spread(seconds(side), 's', 2),
      `${(median(seconds(pytorch)) / median(seconds(side))).toFixed(2)}×`,
      ((2 * manifest.decoder.multiplyAdds) / median(seconds(side)) / 1e9).toFixed(0),
      gibibytes(side.peakBytes),
      errors.join(', '),
    ];
    const { between, exact } = differences;
    return [
      row(loradrop, [
        `${relative(between)} to PyTorch`,
        ...(exact ? [`${relative(exact.loradrop)} to float64`] : []),
      ]),
      row(pytorch, exact ? [`${relative(exact.pytorch)} to float64`] : []),
    ];
  },
};
