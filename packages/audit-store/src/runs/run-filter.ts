import type { RunFilter, RunStatus } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { type RawBuilder, sql } from 'kysely';
import { createdBefore, createdFrom } from './created-at.ts';

type Condition = RawBuilder<boolean>;

/** The conditions on `runs`; `true` when there are none. */
export const fits = (filter: RunFilter & { readonly status?: RunStatus | undefined }): Condition => {
  const { status, agent, user_id, session_id, created_after, created_before } = filter;
  const all: Condition[] = [];
  if (status !== undefined) all.push(sql`status = ${status}`);
  if (agent !== undefined) all.push(sql`agent = ${wellFormed(agent)}`);
  if (user_id !== undefined) all.push(sql`user_id = ${wellFormed(user_id)}`);
  if (session_id !== undefined) all.push(sql`session_id = ${wellFormed(session_id)}`);
  if (created_after !== undefined) all.push(createdFrom(created_after));
  if (created_before !== undefined) all.push(createdBefore(created_before));
  return all.length === 0 ? sql`true` : sql`(${sql.join(all, sql` and `)})`;
};
