import { databaseUrl } from '@signalbox/audit-store';
import {
  priceOverridesFile,
  type PricesOptions,
  providerAccess,
  type ProviderAccess,
  providerVariables,
} from '@signalbox/providers';
import { redisCheck, type RedisCheck, redisUrl } from '@signalbox/run-state';
import {
  build,
  type Environment,
  keyring,
  loadConfigOrExit,
  loadedSecrets,
  type LogLevel,
  logLevel,
  otlpEndpoint,
  parseEnv,
  port,
  positiveInt,
  usd,
  type WrappingKey,
} from '@signalbox/runtime';
import { z } from 'zod';
import type { DefaultCaps } from './deps.ts';

/** Everything the api takes from its environment; nothing optional that has a default. */
export interface ApiConfig {
  readonly redisUrl: string;
  readonly queueRedisUrl: string;
  readonly redisCheck: RedisCheck;
  readonly databaseUrl: string;
  readonly encryptionKeys: readonly WrappingKey[];
  readonly bootstrapApiKey: string | undefined;
  readonly port: number;
  readonly host: string;
  readonly defaultCaps: DefaultCaps;
  /** Prices that stand before those of the catalogue. */
  readonly prices: Pick<PricesOptions, 'overrides'>;
  /** Requests per second and API key, ten times as many of a tenant, counted over 10 s; 0 for no limit. */
  readonly rateLimitPerSecond: number;
  /** New runs are refused while this many commits wait to be stored in Postgres (R9). */
  readonly auditBacklogLimit: number;
  /** How long it goes on serving after SIGTERM, not ready any more, until load balancers have noticed. */
  readonly shutdownDelayMs: number;
  /** To try keys with. */
  readonly providers: ProviderAccess;
  /** Version of this code, for the events it writes. */
  readonly build: string;
  readonly otlpEndpoint: string | undefined;
  readonly logLevel: LogLevel;
  /** What no log, event or answer may show. */
  readonly secrets: readonly string[];
}

/** Far above what one client needs, below what one can do to the others. */
const rateLimit = z
  .string()
  .regex(/^\d{1,7}$/, 'expected a whole number of requests, 0 for no limit')
  .prefault('1000')
  .transform(Number);

/** More commits than a Redis has room for. */
const MAX_BACKLOG = 1_000_000_000;

/** More than this a grace period hardly allows. */
const MAX_DELAY_SECONDS = 120;
const shutdownDelay = z
  .string()
  .regex(/^\d{1,3}$/, `expected a whole number of seconds from 0 to ${MAX_DELAY_SECONDS}`)
  .prefault('5')
  .transform(Number)
  .refine((seconds) => seconds <= MAX_DELAY_SECONDS, `expected at most ${MAX_DELAY_SECONDS} seconds`);

const Schema = z.object({
  REDIS_URL: redisUrl,
  QUEUE_REDIS_URL: redisUrl.optional(),
  REDIS_CHECK: redisCheck,
  DATABASE_URL: databaseUrl,
  ENCRYPTION_KEYS: keyring,
  BOOTSTRAP_API_KEY: z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'expected 1 to 255 visible ASCII characters')
    .optional(),
  PORT: port(8080),
  HOST: z.string().default('127.0.0.1'),
  DEFAULT_RUN_CAP_USD: usd('1'),
  DEFAULT_USER_DAILY_CAP_USD: usd('20'),
  DEFAULT_TENANT_DAILY_CAP_USD: usd('200'),
  ...providerVariables,
  PRICE_OVERRIDES_FILE: priceOverridesFile,
  RATE_LIMIT_PER_SECOND: rateLimit,
  AUDIT_BACKLOG_LIMIT: positiveInt(100_000, MAX_BACKLOG),
  SHUTDOWN_DELAY_SECONDS: shutdownDelay,
  BUILD_SHA: build,
  OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint,
  LOG_LEVEL: logLevel,
});

const toConfig = (env: z.infer<typeof Schema>, all: Environment): ApiConfig => ({
  redisUrl: env.REDIS_URL,
  queueRedisUrl: env.QUEUE_REDIS_URL ?? env.REDIS_URL,
  redisCheck: env.REDIS_CHECK,
  databaseUrl: env.DATABASE_URL,
  encryptionKeys: env.ENCRYPTION_KEYS,
  bootstrapApiKey: env.BOOTSTRAP_API_KEY,
  port: env.PORT,
  host: env.HOST,
  defaultCaps: {
    runNano: env.DEFAULT_RUN_CAP_USD,
    userDailyNano: env.DEFAULT_USER_DAILY_CAP_USD,
    tenantDailyNano: env.DEFAULT_TENANT_DAILY_CAP_USD,
  },
  prices: env.PRICE_OVERRIDES_FILE === undefined ? {} : { overrides: env.PRICE_OVERRIDES_FILE },
  rateLimitPerSecond: env.RATE_LIMIT_PER_SECOND,
  auditBacklogLimit: env.AUDIT_BACKLOG_LIMIT,
  shutdownDelayMs: env.SHUTDOWN_DELAY_SECONDS * 1000,
  providers: providerAccess(env),
  build: env.BUILD_SHA,
  otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
  logLevel: env.LOG_LEVEL,
  secrets: loadedSecrets(all),
});

/** Throws ConfigError, one line per problem. */
export const readConfig = (env: Environment): ApiConfig => toConfig(parseEnv(Schema, env), env);

/** For main.ts: ends the process with code 78 when the environment does not fit. */
export const loadConfig = (): ApiConfig => toConfig(loadConfigOrExit(Schema, process.env), process.env);
