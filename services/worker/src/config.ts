import { priceOverridesFile, providerAccess, providerVariables } from '@signalbox/providers';
import { redisCheck, redisUrl } from '@signalbox/run-state';
import {
  build,
  keyring,
  loadConfigOrExit,
  loadedSecrets,
  logLevel,
  otlpEndpoint,
  port,
  positiveInt,
  seconds,
} from '@signalbox/runtime';
import { z } from 'zod';
import { allowList } from './tools/allow-list.ts';

/** So long, at most, others wait for the runs of a lost worker. */
const MAX_LEASE_SECONDS = 3600;
const MAX_CONCURRENCY = 10_000;

const Environment = z
  .object({
    REDIS_URL: redisUrl,
    QUEUE_REDIS_URL: redisUrl.optional(),
    REDIS_CHECK: redisCheck,
    ENCRYPTION_KEYS: keyring,
    HOST: z.string().default('127.0.0.1'),
    METRICS_PORT: port(9464),
    WORKER_CONCURRENCY: positiveInt(100, MAX_CONCURRENCY),
    LEASE_SECONDS: seconds(30, MAX_LEASE_SECONDS),
    DRAIN_SECONDS: seconds(330),
    TIME_SLICE_SECONDS: seconds(600),
    STALL_SECONDS: seconds(60),
    ...providerVariables,
    PRICE_OVERRIDES_FILE: priceOverridesFile,
    HTTP_TOOL_ALLOW: allowList,
    BUILD_SHA: build,
    OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint,
    LOG_LEVEL: logLevel,
  })
  .transform((env) => ({
    redisUrl: env.REDIS_URL,
    queueRedisUrl: env.QUEUE_REDIS_URL ?? env.REDIS_URL,
    redisCheck: env.REDIS_CHECK,
    encryptionKeys: env.ENCRYPTION_KEYS,
    host: env.HOST,
    metricsPort: env.METRICS_PORT,
    concurrency: env.WORKER_CONCURRENCY,
    leaseMs: env.LEASE_SECONDS * 1000,
    drainMs: env.DRAIN_SECONDS * 1000,
    timeSliceMs: env.TIME_SLICE_SECONDS * 1000,
    stallMs: env.STALL_SECONDS * 1000,
    providers: providerAccess(env),
    prices: env.PRICE_OVERRIDES_FILE === undefined ? {} : { overrides: env.PRICE_OVERRIDES_FILE },
    httpToolAllow: env.HTTP_TOOL_ALLOW,
    build: env.BUILD_SHA,
    otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
    logLevel: env.LOG_LEVEL,
  }));

export type WorkerConfig = z.infer<typeof Environment> & { readonly secrets: readonly string[] };

/** Reads the environment; on any problem prints one message that lists all of them and exits. */
export const loadConfig = (): WorkerConfig => ({
  ...loadConfigOrExit(Environment, process.env),
  secrets: loadedSecrets(process.env),
});
