/**
 * Logs: one JSON line per entry on stdout.
 * R13: every text that leaves through here, messages, keys, values and error stacks, passes through the redactor.
 * A warning of one and the same error is written once a minute, with how often it was left out (`repeated`), unless it
 * names a run. At level debug all are written.
 */
import { pino } from 'pino';
import { type Clock, systemClock } from './clock.ts';
import type { LogLevel } from './config-fields.ts';
import { toLoggable } from './loggable.ts';
import { messageOf } from './message-of.ts';
import { Repeats } from './repeats.ts';

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The process is about to end because of this. */
  fatal(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each entry. */
  child(fields: LogFields): Logger;
}

export interface LogRedactor {
  readonly text: (text: string) => string;
  /** Plain JSON of the same shape. */
  readonly json: (value: unknown) => unknown;
}

const NOTHING_SECRET: LogRedactor = { text: (text) => text, json: (value) => value };

export interface LoggerOptions {
  readonly service: string;
  readonly level: LogLevel;
  /** Takes secrets out of what is logged. Default: leaves it. */
  readonly redactor?: LogRedactor | undefined;
  /** Where lines go; default stdout. */
  readonly destination?: { write(line: string): void } | undefined;
  readonly clock?: Clock;
}

/** Errors among the fields become `{type, message, stack, code, cause}`; everything else becomes plain JSON. */
export function createLogger({
  service,
  level,
  redactor = NOTHING_SECRET,
  destination,
  clock = systemClock,
}: LoggerOptions): Logger {
  const options: pino.LoggerOptions = {
    level,
    base: { service, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    // Errors are made plain before pino sees them, so that redaction reaches their text.
    serializers: {},
  };
  const target = destination === undefined ? pino(options) : pino(options, destination);
  return wrap(target, { redactor, clock, repeats: new Repeats() });
}

interface Writing {
  readonly redactor: LogRedactor;
  readonly clock: Clock;
  readonly repeats: Repeats;
}

function wrap(target: pino.Logger, writing: Writing): Logger {
  const { redactor, clock, repeats } = writing;
  const write = (level: pino.Level, message: string, fields: LogFields = {}) => {
    if (!target.isLevelEnabled(level)) return;
    const what = level === 'warn' && !target.isLevelEnabled('debug') ? troubleOf(message, fields) : null;
    const leftOut = what === null ? 0 : repeats.admit(what, clock.monotonic());
    if (leftOut === null) return;
    const told = leftOut === 0 ? fields : { ...fields, repeated: leftOut };
    target[level](toFields(told, redactor), toText(message, redactor));
  };
  return {
    debug: (message, fields) => write('debug', message, fields),
    info: (message, fields) => write('info', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    error: (message, fields) => write('error', message, fields),
    fatal: (message, fields) => write('fatal', message, fields),
    child: (fields) => wrap(target.child(toFields(fields, redactor)), writing),
  };
}

/** What makes two warnings the same; null: each is news. */
function troubleOf(message: string, fields: LogFields): string | null {
  const { error, run_id: runId } = fields;
  return error === undefined || runId !== undefined ? null : `${message}\n${messageOf(error)}`;
}

/** A field or a redaction that throws must cost neither the process nor the secret. */
function toFields(fields: LogFields, redactor: LogRedactor): Record<string, unknown> {
  try {
    const loggable = redactor.json(toLoggable(fields));
    return typeof loggable === 'object' && loggable !== null ? { ...loggable } : {};
  } catch {
    return { fields: '[not loggable]' };
  }
}

function toText(message: string, redactor: LogRedactor): string {
  try {
    return redactor.text(message);
  } catch {
    return '[not loggable]';
  }
}
