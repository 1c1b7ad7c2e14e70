/**
 * A header in the OpenAPI document. The route reads it by itself: zod-openapi would name it in lower case where it tells
 * what is wrong.
 */
export const readsHeader = (
  name: string,
  { pattern, description }: { pattern: RegExp; description: string },
) => [
  {
    in: 'header' as const,
    name,
    required: false,
    description,
    schema: { type: 'string' as const, pattern: pattern.source },
  },
];
