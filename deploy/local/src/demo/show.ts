/** How the demo speaks: plain lines, indented below a numbered title; nothing depends on colour or width. */

/** What was to be shown does not hold. */
export class ExpectationError extends Error {
  override readonly name = 'ExpectationError';
}

export const title = (text: string): void => console.log(`\n${text}`);

export const line = (text: string): void => console.log(`   ${text}`);

/** Shows a claim that holds; throws, with what was found instead, when it does not. */
export function check(claim: string, holds: boolean, found?: unknown): void {
  if (!holds) {
    const instead = found === undefined ? '' : `; found: ${JSON.stringify(found)}`;
    throw new ExpectationError(`Expected: ${claim}${instead}`);
  }
  line(`ok  ${claim}`);
}

/** Up to nano-USD, without trailing zeros. */
export const usd = (amount: number): string => `$${amount.toFixed(9).replace(/\.?0+$/, '')}`;

export const NANO = 1_000_000_000;

export const usdOfNano = (nano: number): string => usd(nano / NANO);

/** Aligned columns, the names on top. */
export function table(rows: readonly Readonly<Record<string, unknown>>[]): void {
  const names = Object.keys(rows[0] ?? {});
  const text = (value: unknown): string => {
    if (value === null || value === undefined) return '-';
    return typeof value === 'string' ? value : JSON.stringify(value);
  };
  const lines = [names, ...rows.map((row) => names.map((name) => text(row[name])))];
  const widths = names.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  for (const cells of lines) {
    line(
      `    ${cells
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()}`,
    );
  }
}
