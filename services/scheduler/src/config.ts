/** The environment of the scheduler (contract §2). */
import type { KeyObject } from 'node:crypto';
import { databaseUrl } from '@signalbox/audit-store';
import { MIN_EVENT_DAYS } from '@signalbox/contracts';
import { redisCheck, type RedisCheck, redisUrl } from '@signalbox/run-state';
import {
  build,
  intBetween,
  keyring,
  loadConfigOrExit,
  loadedSecrets,
  type LogLevel,
  logLevel,
  otlpEndpoint,
  port,
  positiveInt,
  seconds,
  type WrappingKey,
} from '@signalbox/runtime';
import { z } from 'zod';
import { signingKeyFrom } from './checkpoints/signing-key.ts';

const HOUR_SECONDS = 3600;
const MONTH_SECONDS = 30 * 24 * HOUR_SECONDS;
/** A hundred years. */
const MAX_DAYS = 36_500;

const signingKey = z.string().transform((text, context): KeyObject => {
  const key = signingKeyFrom(text);
  if (key !== undefined) return key;
  context.addIssue({ code: 'custom', message: 'expected an Ed25519 private key: PEM, or base64(32 bytes)' });
  return z.NEVER;
});

const Environment = z.object({
  REDIS_URL: redisUrl,
  QUEUE_REDIS_URL: redisUrl.optional(),
  REDIS_CHECK: redisCheck,
  DATABASE_URL: databaseUrl,
  // Only checked: all services get the same keys, and a bad value should show before it is needed.
  ENCRYPTION_KEYS: keyring,
  LEASE_SECONDS: seconds(30, HOUR_SECONDS),
  STALL_SECONDS: seconds(60),
  HIBERNATE_AFTER_SECONDS: seconds(600, MONTH_SECONDS),
  WAITING_EXPIRY_DAYS: positiveInt(30, MAX_DAYS),
  AUDIT_RETENTION_DAYS: intBetween(
    'days to keep audit events (unset: for ever)',
    MIN_EVENT_DAYS,
    MAX_DAYS,
  ).optional(),
  AUDIT_SIGNING_KEY: signingKey.optional(),
  CHECKPOINT_FILE: z.string().min(1).optional(),
  METRICS_PORT: port(9466),
  HOST: z.string().default('127.0.0.1'),
  BUILD_SHA: build,
  LOG_LEVEL: logLevel,
  OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint,
});

export interface Config {
  readonly redisUrl: string;
  readonly queueRedisUrl: string;
  readonly redisCheck: RedisCheck;
  readonly databaseUrl: string;
  /** How long a silent worker keeps a run. */
  readonly leaseSeconds: number;
  /** A loop that makes no round for so long ends the process. */
  readonly stallMs: number;
  /** How long a run is parked before its journal leaves Redis. */
  readonly hibernateAfterSeconds: number;
  /** How long a run may wait in one park. */
  readonly waitingExpiryDays: number;
  /** How long audit events of a tenant stay that has set no period. Null: for ever. */
  readonly auditRetentionDays: number | null;
  /** Signs checkpoints. Null: none are written. */
  readonly signingKey: KeyObject | null;
  /** Where checkpoints go besides Postgres. */
  readonly checkpointFile: string | null;
  readonly host: string;
  readonly metricsPort: number;
  /** Version of this code. */
  readonly build: string;
  readonly logLevel: LogLevel;
  readonly otlpEndpoint: string | undefined;
  /** What no log may show. */
  readonly secrets: readonly string[];
}

/** Ends the process with one message when the environment does not fit. */
export const loadConfig = (): Config => {
  const env = loadConfigOrExit(Environment, process.env);
  return {
    redisUrl: env.REDIS_URL,
    queueRedisUrl: env.QUEUE_REDIS_URL ?? env.REDIS_URL,
    redisCheck: env.REDIS_CHECK,
    databaseUrl: env.DATABASE_URL,
    leaseSeconds: env.LEASE_SECONDS,
    stallMs: env.STALL_SECONDS * 1000,
    hibernateAfterSeconds: env.HIBERNATE_AFTER_SECONDS,
    waitingExpiryDays: env.WAITING_EXPIRY_DAYS,
    auditRetentionDays: env.AUDIT_RETENTION_DAYS ?? null,
    signingKey: env.AUDIT_SIGNING_KEY ?? null,
    checkpointFile: env.CHECKPOINT_FILE ?? null,
    host: env.HOST,
    metricsPort: env.METRICS_PORT,
    build: env.BUILD_SHA,
    logLevel: env.LOG_LEVEL,
    otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
    secrets: loadedSecrets(process.env),
  };
};

/** Of the command that rotates keys. Ends the process like `loadConfig`. */
export const loadRotationConfig = (): {
  databaseUrl: string;
  redisUrl: string;
  encryptionKeys: readonly WrappingKey[];
} => {
  const fields = Environment.pick({ REDIS_URL: true, DATABASE_URL: true, ENCRYPTION_KEYS: true });
  const env = loadConfigOrExit(fields, process.env);
  return { databaseUrl: env.DATABASE_URL, redisUrl: env.REDIS_URL, encryptionKeys: env.ENCRYPTION_KEYS };
};
