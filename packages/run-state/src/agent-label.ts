/** Named by tenants, who may have as many as they like; each makes some dozen series. */
const MOST_AGENTS = 1000;

/**
 * Agents as the label of a metric: the first thousand that a process meets by their names, all others as `other`, so
 * that no tenant fills the memory of those who scrape. Null: an inline spec.
 */
export const createAgentLabel = (most = MOST_AGENTS): ((name: string | null) => string) => {
  const known = new Set<string>();
  return (name) => {
    if (name === null) return 'inline';
    if (known.size < most) known.add(name);
    return known.has(name) ? name : 'other';
  };
};
