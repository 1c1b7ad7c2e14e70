/** Which of the chains that an export does not have were taken away, and which left with their month. */

export interface MissingChains {
  readonly count: number;
  /** The first of them, in their order. */
  readonly run_ids: readonly string[];
}

/** As many as are named. */
const MOST_NAMED = 100;

const MADE_AT = /^run_([0-9a-f]{12})/;

/** As the id says; null: it says none. */
const madeAt = (runId: string): number | null => {
  const [, millis] = MADE_AT.exec(runId) ?? [];
  return millis === undefined ? null : Number.parseInt(millis, 16);
};

const MONTH = 'YYYY-MM'.length;
const monthOf = (ms: number): string => new Date(ms).toISOString().slice(0, MONTH);

/**
 * A month leaves whole, so a chain has left only if it was made before `departedBefore` and no other of its month is
 * there. `present`: the chains that are. `departedBefore` null: none has left.
 */
export const sortMissing = (
  absent: readonly string[],
  present: Iterable<string>,
  departedBefore: Date | null,
): { readonly departed: number; readonly missing: MissingChains } => {
  const here = new Set<string>();
  for (const id of present) {
    const ms = madeAt(id);
    if (ms !== null) here.add(monthOf(ms));
  }
  const hasLeft = (id: string): boolean => {
    const ms = madeAt(id);
    return departedBefore !== null && ms !== null && ms < departedBefore.getTime() && !here.has(monthOf(ms));
  };
  const missing = absent.filter((id) => !hasLeft(id)).toSorted();
  return {
    departed: absent.length - missing.length,
    missing: { count: missing.length, run_ids: missing.slice(0, MOST_NAMED) },
  };
};
