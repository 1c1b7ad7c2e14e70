/** The calendar day in an IANA zone, `YYYY-MM-DD`: the day a cap counts for. */
export const dayIn = (timeZone: string, nowMs: number): string =>
  new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' }).format(
    nowMs,
  );
