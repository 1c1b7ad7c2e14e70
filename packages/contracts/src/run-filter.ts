import { z } from 'zod';
import { AgentName } from './agent.ts';

const label = z.string().min(1).max(256);
const time = z.iso.datetime({ offset: true, error: 'expected an RFC 3339 time' });

/** Conditions on runs, wherever some are chosen; all that are given hold. */
export const RUN_FILTER = {
  agent: AgentName.optional(),
  user_id: label.optional(),
  session_id: label.optional(),
  /** From this instant on. */
  created_after: time.optional(),
  /** Before this instant. */
  created_before: time.optional(),
};

export type RunFilter = Readonly<z.infer<z.ZodObject<typeof RUN_FILTER>>>;
