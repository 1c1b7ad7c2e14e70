/**
 * Whoever asks for the same thing in one turn of the event loop gets the same answer: a hint wakes all who follow a run
 * at once, and one read serves them. Nobody joins a read that began in an earlier turn, since it may have missed what
 * the hint was about; commands to Redis leave at the end of a turn, so what is joined has not been sent yet.
 */
export const coalesceReads = <T>(): ((name: string, work: () => Promise<T>) => Promise<T>) => {
  const begun = new Map<string, Promise<T>>();
  return (name, work) => {
    const known = begun.get(name);
    if (known !== undefined) return known;
    const answer = work();
    begun.set(name, answer);
    process.nextTick(() => begun.delete(name));
    return answer;
  };
};
