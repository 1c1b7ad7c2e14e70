/** What was thrown may be anything, also an error whose message is no text, or something that cannot be made one. */
export const messageOf = (error: unknown): string => {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'something was thrown that cannot be shown';
  }
};
