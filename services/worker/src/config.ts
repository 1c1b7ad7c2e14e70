import { priceOverridesFile, providerAccess, providerVariables } from '@signalbox/providers';
import { redisCheck } from '@signalbox/run-state';
import {
  build,
  keyring,
  loadConfigOrExit,
  loadedSecrets,
  logLevel,
  port,
  positiveInt,
  url,
} from '@signalbox/runtime';
import { z } from 'zod';
import { allowList } from './tools/allow-list.ts';

const text = z.string().optional();
const redis = url(['redis', 'rediss']);

const Environment = z
  .object({
    REDIS_URL: redis,
    QUEUE_REDIS_URL: redis.optional(),
    REDIS_CHECK: redisCheck,
    ENCRYPTION_KEYS: keyring,
    HOST: z.string().default('127.0.0.1'),
    METRICS_PORT: port(9464),
    WORKER_CONCURRENCY: positiveInt(100),
    LEASE_SECONDS: positiveInt(30),
    DRAIN_SECONDS: positiveInt(330),
    TIME_SLICE_SECONDS: positiveInt(600),
    STALL_SECONDS: positiveInt(60),
    ...providerVariables,
    PRICE_OVERRIDES_FILE: priceOverridesFile,
    HTTP_TOOL_ALLOW: allowList,
    BUILD_SHA: build,
    OTEL_EXPORTER_OTLP_ENDPOINT: text,
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
