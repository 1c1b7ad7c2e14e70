/** A journal that cannot have been written by this engine: a gap, a second start, a result without a call. */
export class JournalError extends Error {
  override readonly name = 'JournalError';
}
