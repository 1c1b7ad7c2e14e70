/** Every name a page of the documentation may use, from the code that owns it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  Actor,
  ADMIN_EVENT_DATA,
  API_SCOPES,
  CATEGORIES,
  EVENT_DATA,
  SignedCheckpoint,
} from '@signalbox/contracts';
import { AuditEvent } from '../../services/api/src/audit/audit-query.ts';
import { SCOPES } from '../../services/api/src/http/scopes.ts';
import { isContractVariable, METRICS } from '../deploy/contract-environment.ts';
import { list, readText, ROOT } from '../deploy/files.ts';

export const ENVELOPE: readonly string[] = Object.keys(AuditEvent.shape);

/** Of each event type the fields of its data. */
const FIELDS = Object.entries({ ...EVENT_DATA, ...ADMIN_EVENT_DATA }).flatMap(([type, { shape }]) =>
  Object.keys(shape).map((field) => `${type}.${field}`),
);

/** `METHOD /v1/path/{id}`, as the documentation of the api spells it. */
export const ROUTES: readonly string[] = Object.keys(SCOPES).map((route) =>
  route.replaceAll(/:(\w+)/g, '{$1}'),
);

const found = (paths: readonly string[], pattern: RegExp): string[] =>
  paths.flatMap((path) => [...readText(path).matchAll(pattern)].map(([, name = '']) => name));

const NAMES: ReadonlySet<string> = new Set([
  ...CATEGORIES,
  ...Object.keys(EVENT_DATA),
  ...Object.keys(ADMIN_EVENT_DATA),
  ...FIELDS,
  ...ENVELOPE,
  ...Object.keys(Actor.shape).map((field) => `actor.${field}`),
  ...Object.keys(SignedCheckpoint.shape),
  // What the command for an auditor answers.
  ...found(['packages/engine/src/journal/verify-export.ts'], /^ {2}readonly (\w+):/gm),
  ...ROUTES,
  ...API_SCOPES,
  ...[...METRICS].map((metric) => `signalbox_${metric}`),
  ...found(['deploy/prometheus/signalbox.rules.yaml'], /alert: (\w+)/g),
  ...found(['packages/audit-store/schema.sql'], /^create (?:table|view) (\w+)/gm),
  ...found(list('packages/audit-store/migrations/*.sql'), /to (signalbox_\w+);/g),
]);

export const isKnown = (name: string): boolean =>
  NAMES.has(name) || isContractVariable(name) || (/[./]/.test(name) && existsSync(join(ROOT, name)));
