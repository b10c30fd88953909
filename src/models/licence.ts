/** Under which terms a bundle may be used. */
import { type Static, Type } from 'typebox';

/** The terms in words, and whether they allow commercial use. */
export const Licence = Type.Object(
  {
    text: Type.String({
      minLength: 1,
      maxLength: 500,
      description: 'The terms of the weights, and what training data add to them.',
    }),
    commercialUse: Type.Union([Type.Boolean(), Type.Literal('unclear')], {
      description:
        '`false`: the terms of the weights, or of data that they were trained on, forbid commercial use. `true`: none of them does, by the word of whoever made the bundle. `unclear`: nobody has said.',
    }),
  },
  { additionalProperties: false },
);
export type Licence = Static<typeof Licence>;

/** Whether commercial use is `allowed`, `forbidden` or `unclear`, for people. */
export function commercialUseWord({ commercialUse }: Licence): string {
  if (commercialUse === 'unclear') return commercialUse;
  return commercialUse ? 'allowed' : 'forbidden';
}

/** The licence of a manifest that was written before licences said anything of commercial use, when they were texts. */
export function licenceOfText(text: string): Licence {
  return { text, commercialUse: 'unclear' };
}
