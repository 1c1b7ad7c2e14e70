/** Days and months of a tenant: what a cap and a hold count for. */
export interface TenantZone {
  readonly timeZone: string;
  /** A change ahead, and the instant from which it counts. */
  readonly nextTimeZone: { readonly timeZone: string; readonly fromMs: number } | null;
}

/** By zone, of which there are some hundreds: to make one takes a hundred times as long as to use it. */
const formats = new Map<string, Intl.DateTimeFormat>();

const formatOf = (timeZone: string): Intl.DateTimeFormat => {
  const known = formats.get(timeZone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
  });
  formats.set(timeZone, made);
  return made;
};

/** The calendar day in an IANA zone, `YYYY-MM-DD`: the day a cap counts for. */
const dayIn = (timeZone: string, nowMs: number): string => formatOf(timeZone).format(nowMs);

const DAY_MS = 86_400_000;

/** The first instant of `from..to` that is past, by bisection: zones shift by odd amounts. */
const firstPast = (from: number, to: number, isPast: (ms: number) => boolean): number => {
  let inside = from;
  let outside = to;
  while (outside - inside > 1) {
    const middle = Math.floor((inside + outside) / 2);
    if (isPast(middle)) outside = middle;
    else inside = middle;
  }
  return outside;
};

/** When the day ends that is on at `nowMs`. */
export const endOfDayIn = (timeZone: string, nowMs: number): number => {
  const day = dayIn(timeZone, nowMs);
  return firstPast(nowMs, nowMs + 2 * DAY_MS, (ms) => dayIn(timeZone, ms) > day);
};

export interface TenantDay {
  /** `YYYY-MM-DD`; the month is its first seven letters. */
  readonly day: string;
  readonly dayEndsMs: number;
  readonly monthEndsMs: number;
}

/** The tenant's day and month that are on now, and when each ends: a change of zone ahead may prolong them. */
export const tenantDay = ({ timeZone, nextTimeZone }: TenantZone, nowMs: number): TenantDay => {
  const dayAt = (ms: number): string =>
    dayIn(nextTimeZone !== null && ms >= nextTimeZone.fromMs ? nextTimeZone.timeZone : timeZone, ms);
  const day = dayAt(nowMs);
  const month = day.slice(0, 7);
  return {
    day,
    dayEndsMs: firstPast(nowMs, nowMs + 3 * DAY_MS, (ms) => dayAt(ms) > day),
    monthEndsMs: firstPast(nowMs, nowMs + 34 * DAY_MS, (ms) => dayAt(ms).slice(0, 7) > month),
  };
};

/** The name of an IANA zone as the platform spells it; undefined for anything else, offsets included. */
export const knownZone = (name: string): string | undefined => {
  if (!/^[A-Za-z]/.test(name)) return undefined;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
};
