import type { Event, EventData, RunStatus, WaitReason } from '@signalbox/contracts';

/**
 * What a set of newly stored events changes in their run's row: the same as folding them, except that
 * it may be applied in any order. Sums add, the newest status wins (`status_seq`), the oldest start
 * wins (`started_seq`). The cost is not here: `costs.ts` knows which settlements count.
 */
export interface RunChange {
  readonly id: string;
  submitted: Submitted | null;
  status: RunStatus;
  status_seq: number;
  waiting_for: WaitReason | null;
  error_code: string | null;
  finished_at: string | null;
  started_at: string | null;
  started_seq: number | null;
  estimated: boolean;
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  steps: number;
  epoch: number;
}

type Submitted = EventData<'run.submitted'> & { readonly created_at: string };

const emptyChange = (id: string): RunChange => ({
  id,
  submitted: null,
  status: 'queued',
  status_seq: 0,
  waiting_for: null,
  error_code: null,
  finished_at: null,
  started_at: null,
  started_seq: null,
  estimated: false,
  input_tokens: 0,
  output_tokens: 0,
  cache_read_tokens: 0,
  cache_write_tokens: 0,
  steps: 0,
  epoch: 0,
});

type StatusPart = Pick<RunChange, 'status' | 'waiting_for' | 'error_code' | 'finished_at'>;

const status = (to: RunStatus, more: Partial<StatusPart> = {}): StatusPart => ({
  status: to,
  waiting_for: null,
  error_code: null,
  finished_at: null,
  ...more,
});

/** The status an event leads to, as `fold` has it; null when it changes none. */
const statusAfter = (event: Event): StatusPart | null => {
  switch (event.type) {
    case 'run.submitted':
      return event.data.run_at === null ? status('queued') : status('waiting', { waiting_for: 'timer' });
    case 'run.claimed':
      return status('running');
    case 'run.parked':
      return status('waiting', { waiting_for: event.data.reason });
    case 'run.handed_over':
      return status('queued');
    case 'run.succeeded':
      return status('succeeded', { finished_at: event.ts });
    case 'run.failed':
      return status('failed', { finished_at: event.ts, error_code: event.data.code });
    case 'run.aborted':
      return status('aborted', { finished_at: event.ts });
    default:
      return null;
  }
};

const addCall = (
  change: RunChange,
  { usage, settlement }: EventData<'llm.completed'> | EventData<'llm.failed'>,
): void => {
  change.input_tokens += usage.input_tokens;
  change.output_tokens += usage.output_tokens;
  change.cache_read_tokens += usage.cache_read_tokens;
  change.cache_write_tokens += usage.cache_write_tokens;
  change.estimated ||= settlement?.estimated ?? false;
};

const add = (change: RunChange, event: Event): void => {
  const next = event.seq > change.status_seq ? statusAfter(event) : null;
  if (next !== null) Object.assign(change, next, { status_seq: event.seq });
  change.epoch = Math.max(change.epoch, event.epoch);
  switch (event.type) {
    case 'run.submitted':
      change.submitted = { ...event.data, created_at: event.ts };
      return;
    case 'run.claimed':
      if (change.started_seq !== null && change.started_seq < event.seq) return;
      change.started_at = event.ts;
      change.started_seq = event.seq;
      return;
    case 'llm.requested':
    case 'tool.requested':
      change.steps = Math.max(change.steps, event.data.step);
      return;
    case 'llm.completed':
    case 'llm.failed':
      return addCall(change, event.data);
    case 'cost.expired':
      change.estimated ||= event.data.settlement.estimated;
      return;
    default:
      return;
  }
};

/** One change per run that has new events, or that is named in `touched` (its head may have moved). */
export const runChanges = (events: readonly Event[], touched: readonly string[]): readonly RunChange[] => {
  const changes = new Map(touched.map((id) => [id, emptyChange(id)]));
  for (const event of events) {
    const change = changes.get(event.run_id) ?? emptyChange(event.run_id);
    changes.set(event.run_id, change);
    add(change, event);
  }
  return [...changes.values()];
};
