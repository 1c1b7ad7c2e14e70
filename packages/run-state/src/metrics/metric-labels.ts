import { splitModelRef } from '@signalbox/contracts';

/**
 * Labels whose values tenants make up, as many as they like: the first that a process meets go by their names, all
 * others as `other`, so that no tenant fills the memory of those who scrape.
 */

const OTHER = 'other';

/** Each makes some dozen series. */
const MOST_AGENTS = 1000;
/** Each makes a hundred: a histogram for each outcome. And any suffix of a priced model's name is priced too. */
const MOST_MODELS = 200;

const firstNames = (most: number): ((name: string) => boolean) => {
  const known = new Set<string>();
  return (name) => {
    if (known.size < most) known.add(name);
    return known.has(name);
  };
};

/** Null: an inline spec. */
export const createAgentLabel = (most = MOST_AGENTS): ((name: string | null) => string) => {
  const isNamed = firstNames(most);
  return (name) => {
    if (name === null) return 'inline';
    return isNamed(name) ? name : OTHER;
  };
};

export type ModelLabels = (ref: string) => { readonly provider: string; readonly model: string };

/** Of a `provider/model`; providers are few and keep their names. */
export const createModelLabels = (most = MOST_MODELS): ModelLabels => {
  const isNamed = firstNames(most);
  return (ref) => {
    const { provider, model } = splitModelRef(ref);
    return { provider, model: isNamed(ref) ? model : OTHER };
  };
};
