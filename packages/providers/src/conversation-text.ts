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

/** Enough to see what was wrong, little enough that its escapes stay within the room of the bound (bound.ts, R1). */
const MOST_SHOWN = 500;

/** Providers refuse a conversation with arguments that are no object; what the model wrote is still to be seen by it. */
const shownAsObject = (text: string): Record<string, unknown> => ({
  invalid_arguments: sendable(text.slice(0, MOST_SHOWN)),
});

const parsedObject = (text: string): Record<string, unknown> | null => {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : null;
  } catch {
    return null;
  }
};

/** Deeper than the arguments of any tool, and far from what the SDK cannot write: JSON.stringify calls itself. */
const MOST_LEVELS = 500;

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)));

/** The arguments of a tool call, as an object. */
export const argumentsObject = (text: string): Record<string, unknown> => {
  const parsed = parsedObject(sendable(text));
  return parsed === null || isDeeper(parsed, MOST_LEVELS) ? shownAsObject(text) : parsed;
};

/** The arguments of a tool call, as the JSON of an object: that of the model where it is one. */
export const argumentsJson = (text: string): string => {
  const json = sendable(text);
  return parsedObject(json) === null ? JSON.stringify(shownAsObject(text)) : json;
};

const MOST_NAME_CHARS = 64;

/** The name of a tool that was called; one that a model made up may hold what no provider takes back, or nothing. */
export const calledName = (name: string): string =>
  name.replaceAll(/[^a-zA-Z0-9_-]/g, '_').slice(0, MOST_NAME_CHARS) || '_';
