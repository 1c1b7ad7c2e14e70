/** The environment of the scheduler (contract §2). */
import {
  keyring,
  loadConfigOrExit,
  type LogLevel,
  logLevel,
  port,
  positiveInt,
  url,
} from '@signalbox/runtime';
import { z } from 'zod';

const REDIS = ['redis', 'rediss'];

const Environment = z.object({
  REDIS_URL: url(REDIS),
  QUEUE_REDIS_URL: url(REDIS).optional(),
  DATABASE_URL: url(['postgres', 'postgresql']),
  // Only checked: all services get the same keys, and a bad value should show before it is needed.
  ENCRYPTION_KEYS: keyring,
  LEASE_SECONDS: positiveInt(30),
  METRICS_PORT: port(9466),
  HOST: z.string().default('127.0.0.1'),
  LOG_LEVEL: logLevel,
  OTEL_EXPORTER_OTLP_ENDPOINT: url(['http', 'https']).optional(),
});

export interface Config {
  readonly redisUrl: string;
  readonly queueRedisUrl: string;
  readonly databaseUrl: string;
  /** How long a silent worker keeps a run. */
  readonly leaseSeconds: number;
  readonly host: string;
  readonly metricsPort: number;
  readonly logLevel: LogLevel;
  readonly otlpEndpoint: string | undefined;
}

/** Ends the process with one message when the environment does not fit. */
export const loadConfig = (): Config => {
  const env = loadConfigOrExit(Environment, process.env);
  return {
    redisUrl: env.REDIS_URL,
    queueRedisUrl: env.QUEUE_REDIS_URL ?? env.REDIS_URL,
    databaseUrl: env.DATABASE_URL,
    leaseSeconds: env.LEASE_SECONDS,
    host: env.HOST,
    metricsPort: env.METRICS_PORT,
    logLevel: env.LOG_LEVEL,
    otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
  };
};
