/** The environment of the audit-writer (contract §2). */
import { databaseUrl } from '@signalbox/audit-store';
import { redisCheck, type RedisCheck, redisUrl } from '@signalbox/run-state';
import {
  loadConfigOrExit,
  loadedSecrets,
  type LogLevel,
  logLevel,
  otlpEndpoint,
  port,
  seconds,
} from '@signalbox/runtime';
import { z } from 'zod';

const HOUR_SECONDS = 3600;
const MONTH_SECONDS = 30 * 24 * HOUR_SECONDS;

const Environment = z.object({
  REDIS_URL: redisUrl,
  REDIS_CHECK: redisCheck,
  DATABASE_URL: databaseUrl,
  METRICS_PORT: port(9465),
  HOST: z.string().default('127.0.0.1'),
  LOG_LEVEL: logLevel,
  OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint,
  LEASE_SECONDS: seconds(30, HOUR_SECONDS),
  RUN_TTL_SECONDS: seconds(HOUR_SECONDS, MONTH_SECONDS),
  STALL_SECONDS: seconds(60),
});

export interface Config {
  readonly redisUrl: string;
  readonly redisCheck: RedisCheck;
  readonly databaseUrl: string;
  readonly host: string;
  readonly metricsPort: number;
  readonly logLevel: LogLevel;
  readonly otlpEndpoint: string | undefined;
  /** How long a silent worker keeps a run; a silent audit-writer keeps the lead for a third of it. */
  readonly leaseSeconds: number;
  /** What no log may show. */
  readonly secrets: readonly string[];
  /** How long Redis keeps a run that has ended and is stored whole. */
  readonly runTtlSeconds: number;
  /** A relay that makes no round for so long ends the process. */
  readonly stallMs: number;
}

/** Ends the process with one message when the environment does not fit. */
export const loadConfig = (): Config => {
  const env = loadConfigOrExit(Environment, process.env);
  return {
    redisUrl: env.REDIS_URL,
    redisCheck: env.REDIS_CHECK,
    databaseUrl: env.DATABASE_URL,
    host: env.HOST,
    metricsPort: env.METRICS_PORT,
    logLevel: env.LOG_LEVEL,
    otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
    leaseSeconds: env.LEASE_SECONDS,
    secrets: loadedSecrets(process.env),
    runTtlSeconds: env.RUN_TTL_SECONDS,
    stallMs: env.STALL_SECONDS * 1000,
  };
};
