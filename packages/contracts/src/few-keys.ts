import { z } from 'zod';

const isLarger = (value: unknown, most: number): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length > most;

/** Counts the keys before it looks at any: a body of many bad keys would otherwise produce an issue for each. */
export const withFewKeys = <S extends z.ZodType>(most: number, schema: S) =>
  z.preprocess((value, ctx) => {
    if (!isLarger(value, most)) return value;
    ctx.addIssue({ code: 'custom', message: `at most ${most} keys` });
    return z.NEVER;
  }, schema);
