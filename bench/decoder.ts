/** How much faster than PyTorch does a condition become weight tokens, and how far apart are they? */
import { type Benchmark, gibibytes, median, relative, spread } from './report.ts';
import { compareSides, type SideFigures } from './side-by-side.ts';

export const decoder: Benchmark = {
  question:
    'condition → weight tokens, the same weights and condition on both sides; GFLOP/s are those of the direct arithmetic; the floor is the arithmetic that a side does, at the speed of a large matrix product; a difference is the largest of any LoRA tensor relative to the tensor’s largest magnitude',
  columns: [
    'side',
    'size',
    'runs',
    'seconds',
    'ratio',
    'GFLOP/s',
    'arithmetic',
    'of the floor',
    'peak memory',
    'difference',
  ],
  onRequest: true,
  async run(options) {
    const { manifest, loradrop, pytorch, differences, multiplyFlops, order } = await compareSides(options);
    const { multiplyAdds } = manifest.generator;
    const { plan } = manifest.dnd;
    const seconds = ({ generations }: SideFigures) => median(generations.map(({ decode }) => decode));
    const row = (side: SideFigures, own: { multiplyAdds: number; errors: readonly string[] }) => [
      side.name,
      manifest.id,
      `${options.runs}, ${order}`,
      spread(
        side.generations.map(({ decode }) => decode),
        's',
        2,
      ),
      `${(seconds(pytorch) / seconds(side)).toFixed(2)}×`,
      ((2 * multiplyAdds) / seconds(side) / 1e9).toFixed(0),
      `${((2 * own.multiplyAdds) / 1e9).toFixed(0)} GFLOP`,
      `${((100 * 2 * own.multiplyAdds) / multiplyFlops / seconds(side)).toFixed(0)} %`,
      gibibytes(side.peakBytes),
      own.errors.join(', '),
    ];
    const { between, exact } = differences;
    const planned = plan.reduce((sum, convolution) => sum + convolution.multiplyAdds, 0);
    return [
      row(loradrop, {
        multiplyAdds: planned,
        errors: [
          `${relative(between)} to PyTorch`,
          ...(exact ? [`${relative(exact.loradrop)} to float64`] : []),
        ],
      }),
      row(pytorch, { multiplyAdds, errors: exact ? [`${relative(exact.pytorch)} to float64`] : [] }),
    ];
  },
};
