import type { AdminEventData, AdminEventType } from '@signalbox/contracts';
import type { Redactor } from '@signalbox/engine';
import { wellFormedDeep } from '@signalbox/runtime';

/**
 * What of an administration event somebody wrote, and may so hold a secret or a person (R13). All else is ours: ids,
 * enums, scopes, numbers and the names of fields. What is taken for a secret is up to a tenant, and must change no
 * meaning, nor make an event one that is refused: then nothing could be done any more (R9).
 */
const WRITTEN: { readonly [T in AdminEventType]: readonly (keyof AdminEventData<T>)[] } = {
  'key.created': ['name'],
  'key.revoked': ['name'],
  'key.used': [],
  'auth.refused': [],
  'caps.changed': ['user_id'],
  'agent.changed': ['name'],
  'content.read': [],
  // Whatever was asked for: it need not be a run.
  'audit.exported': ['run_id'],
  'chain.verified': [],
  'content.erased': ['reason'],
  'provider_key.changed': [],
  'provider_key.pinged': [],
  'retention.changed': [],
  'legal_hold.changed': ['reason'],
  'checkpoint.written': [],
  'replay.started': ['filter'],
  'replay.aborted': [],
  'runs.aborted': ['filter', 'reason'],
};

const writtenIn = new Map<string, readonly string[]>(Object.entries(WRITTEN));

const isFields = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const valuesWith = (value: object, change: (value: unknown, name: string) => unknown): object =>
  Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, change(inner, name)]));

/** As it is about to be recorded, or as it was. */
interface Told {
  readonly type: string;
  readonly data: unknown;
}

/** The data of the event, of the same shape. Of a type that we do not know all texts are redacted. */
export const redactFact = (redactor: Redactor, { type, data: told }: Told): unknown => {
  const data = wellFormedDeep(told as Parameters<typeof wellFormedDeep>[0]);
  const written = writtenIn.get(type);
  if (written === undefined || !isFields(data)) return redactor.json(data);
  return valuesWith(data, (value, name): unknown => {
    if (!written.includes(name)) return value;
    return isFields(value) ? valuesWith(value, redactor.json) : redactor.json(value);
  });
};
