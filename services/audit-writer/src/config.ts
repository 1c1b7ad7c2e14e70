/** The environment of the audit-writer (contract §2). */
import { loadConfigOrExit, type LogLevel, logLevel, port, positiveInt, url } from '@signalbox/runtime';
import { z } from 'zod';

const HOUR_SECONDS = 3600;

const Environment = z.object({
  REDIS_URL: url(['redis', 'rediss']),
  DATABASE_URL: url(['postgres', 'postgresql']),
  METRICS_PORT: port(9465),
  HOST: z.string().default('127.0.0.1'),
  LOG_LEVEL: logLevel,
  OTEL_EXPORTER_OTLP_ENDPOINT: url(['http', 'https']).optional(),
  RUN_TTL_SECONDS: positiveInt(HOUR_SECONDS),
});

export interface Config {
  readonly redisUrl: string;
  readonly databaseUrl: string;
  readonly host: string;
  readonly metricsPort: number;
  readonly logLevel: LogLevel;
  readonly otlpEndpoint: string | undefined;
  /** How long Redis keeps a run that has ended and is stored whole. */
  readonly runTtlSeconds: number;
}

/** Ends the process with one message when the environment does not fit. */
export const loadConfig = (): Config => {
  const env = loadConfigOrExit(Environment, process.env);
  return {
    redisUrl: env.REDIS_URL,
    databaseUrl: env.DATABASE_URL,
    host: env.HOST,
    metricsPort: env.METRICS_PORT,
    logLevel: env.LOG_LEVEL,
    otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
    runTtlSeconds: env.RUN_TTL_SECONDS,
  };
};
