import type { ModelRequest } from '@signalbox/contracts';

/**
 * Instructions as sent, with the output schema in words: every provider takes text, while each has another
 * native option for schemas.
 */
export const instructionsOf = ({ instructions, outputSchema }: ModelRequest): string => {
  if (outputSchema === null) return instructions;
  const demand = `Answer with one JSON value that matches this JSON Schema and with nothing else:\n${JSON.stringify(outputSchema)}`;
  return instructions === '' ? demand : `${instructions}\n\n${demand}`;
};

/** UTF-8 cannot hold a lone surrogate, and providers answer its JSON escape with an error. */
export const sendable = (text: string): string => text.toWellFormed();
