import { uuidv7 } from 'uuidv7';
import { z } from 'zod';

/** `prefix_` and the 32 hex digits of a uuidv7: ids of one kind sort by the time they were made. */
export const newId = (prefix: 'run' | 'agt' | 'apr' | 'key' | 'lease' | 'evt' | 'rpl'): string =>
  `${prefix}_${uuidv7().replaceAll('-', '')}`;

export const RunId = z.string().regex(/^run_[0-9a-f]{32}$/, 'expected an id of the form run_<32 hex digits>');

export const ReplayId = z
  .string()
  .regex(/^rpl_[0-9a-f]{32}$/, 'expected an id of the form rpl_<32 hex digits>');
