import { z } from 'zod';

/** Parses what a provider sent; the error names the place and never the content (R13). */
export const parseWire = <T extends z.ZodType>(schema: T, value: unknown): z.infer<T> => {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(
    `not the expected format at "${issue?.path.join('.') ?? ''}" (${issue?.code ?? 'unknown'})`,
  );
};

/**
 * Usage says what an answer costs, not whether it is one: what is odd is `odd` and breaks nothing. Null where none
 * was sent.
 */
export const wireUsage = <T extends z.ZodType>(schema: T, odd: z.infer<T> | null) =>
  z
    .unknown()
    .optional()
    .transform((sent): z.infer<T> | null => {
      if (sent === undefined || sent === null) return null;
      const parsed = schema.safeParse(sent);
      return parsed.success ? parsed.data : odd;
    });
