import type { ExportedEvent } from '@signalbox/audit-store';
import { isAdminChain } from '@signalbox/contracts';
import { z } from 'zod';

/** An export as lines of JSON: the events, and a last line that says how many there are before it. */

const EventLine = z.object({
  chain: z.enum(['run', 'admin']),
  run_id: z.string(),
  seq: z.int(),
  hash: z.string(),
  body: z.string().nullable(),
});

const EndLine = z.object({ end: z.literal(true), lines: z.int(), checkpoint: z.int() });

export const ExportLine = z.union([EventLine, EndLine]);
type ExportLine = z.infer<typeof ExportLine>;

const lineOf = (line: ExportLine): string => `${JSON.stringify(line)}\n`;

export const eventLines = (events: readonly ExportedEvent[]): string =>
  events.map((event) => lineOf({ chain: isAdminChain(event.run_id) ? 'admin' : 'run', ...event })).join('');

export const endLine = (end: Omit<z.infer<typeof EndLine>, 'end'>): string => lineOf({ end: true, ...end });
