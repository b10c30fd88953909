/** `/problems`: what failures mean. A problem's `type` points here. */
import { Type } from 'typebox';
import { httpErrors } from '../errors.ts';
import { PROBLEMS, problemSpec, problemType } from '../problem.ts';
import { problemResponses } from '../problem-responses.ts';
import { ProblemExplanation, refTo } from '../schemas.ts';
import type { App } from '../services.ts';

const explain = (code: string, { status, meaning }: { status: number; meaning: string }) => ({
  code,
  type: problemType(code),
  status,
  meaning,
});

/** Registers the routes. */
export function registerProblems(app: App): void {
  app.get(
    '/problems',
    {
      config: { produces: ['application/json'], access: 'public' },
      schema: {
        tags: ['service'],
        operationId: 'listProblems',
        summary: 'Every failure there is',
        response: {
          200: Type.Object({ problems: Type.Array(refTo(ProblemExplanation)) }, { description: 'By code.' }),
          ...problemResponses(),
        },
      },
    },
    async () => ({ problems: Object.entries(PROBLEMS).map(([code, spec]) => explain(code, spec)) }),
  );

  app.get(
    '/problems/:code',
    {
      config: { produces: ['application/json'], access: 'public' },
      schema: {
        tags: ['service'],
        operationId: 'getProblem',
        summary: 'What a failure means',
        params: Type.Object({ code: Type.String({ pattern: '^[a-z0-9-]{1,64}$' }) }),
        response: { 200: refTo(ProblemExplanation), ...problemResponses('id-invalid', 'route-not-found') },
      },
    },
    async ({ params }) => {
      const spec = problemSpec(params.code);
      if (!spec) throw httpErrors.routeNotFound('No failure has this code.');
      return explain(params.code, spec);
    },
  );
}
