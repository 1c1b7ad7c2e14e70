/** One row of the table: where its processes are stopped, and what its run must look like afterwards. */
import type { Stop } from './crashes.ts';
import type { ServiceName } from './member.ts';
import type { Gap } from './seen.ts';

export interface Row {
  readonly name: string;
  readonly stops: readonly Stop[];
  /** Requests the provider must have got for each model call. */
  readonly calls: readonly number[];
  /** How many requests the tool may have got. */
  readonly tools: readonly number[];
  readonly end: 'succeeded' | 'uncertain_effect';
  /** Of the tool; a POST is not repeatable. */
  readonly method: 'GET' | 'POST';
  /** How long the run waits in its middle. */
  readonly waitSeconds: number;
  /** Redis is emptied while the run waits, once Postgres has all of it. */
  readonly losesRedis: boolean;
}

type Expected = Partial<Omit<Row, 'name' | 'stops'>>;

/** As if nothing had happened. */
const UNDISTURBED: Omit<Row, 'name' | 'stops'> = {
  calls: [1, 1, 1],
  tools: [1],
  end: 'succeeded',
  method: 'GET',
  waitSeconds: 0.5,
  losesRedis: false,
};

export const stopAt =
  (service: ServiceName, how: Stop['how']) =>
  (gap: Gap): Stop => ({ service, gap, how });

/** A row that differs from an undisturbed run in what is expected. */
export const row = (name: string, stops: Stop | readonly Stop[], expected: Expected = {}): Row => ({
  name,
  stops: 'gap' in stops ? [stops] : stops,
  ...UNDISTURBED,
  ...expected,
});
