import { cliErrors } from './errors.ts';

/** A reader of an option that is a whole number in a range. Errors: `input-unusable` naming the option. */
export function wholeNumber(name: string, minimum: number, maximum: number) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^[0-9]+$/.test(text) || value < minimum || value > maximum) {
      throw cliErrors.input(`${name} is a whole number from ${minimum} to ${maximum}.`);
    }
    return value;
  };
}
