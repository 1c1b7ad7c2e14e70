import type { z } from 'zod';

/** Parses what a provider sent; the error names the place and never the content (R13). */
export const parseWire = <T extends z.ZodType>(schema: T, value: unknown): z.infer<T> => {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(
    `not the expected format at "${issue?.path.join('.') ?? ''}" (${issue?.code ?? 'unknown'})`,
  );
};
