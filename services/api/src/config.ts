import { priceOverridesFile, type PricesOptions, providers } from '@signalbox/providers';
import {
  type Environment,
  keyring,
  loadConfigOrExit,
  type LogLevel,
  logLevel,
  parseEnv,
  port,
  positiveInt,
  url,
  usd,
  type WrappingKey,
} from '@signalbox/runtime';
import { z } from 'zod';
import type { DefaultCaps } from './deps.ts';

/** Everything the api takes from its environment; nothing optional that has a default. */
export interface ApiConfig {
  readonly redisUrl: string;
  readonly queueRedisUrl: string;
  readonly databaseUrl: string;
  readonly encryptionKeys: readonly WrappingKey[];
  readonly bootstrapApiKey: string | undefined;
  readonly port: number;
  readonly host: string;
  readonly defaultCaps: DefaultCaps;
  /** Prices that stand before those of the catalogue. */
  readonly prices: Pick<PricesOptions, 'overrides'>;
  /** Requests per second and API key, counted over 10 s; 0 for no limit. */
  readonly rateLimitPerSecond: number;
  /** New runs are refused while this many commits wait to be stored in Postgres (R9). */
  readonly auditBacklogLimit: number;
  /** Names of the variables that hold a provider's key; the keys themselves are the worker's. */
  readonly providerKeys: ReadonlySet<string>;
  readonly otlpEndpoint: string | undefined;
  readonly logLevel: LogLevel;
}

const REDIS = ['redis', 'rediss'];

/** Far above what one client needs, below what one can do to the others. */
const rateLimit = z
  .string()
  .regex(/^\d{1,7}$/, 'expected a whole number of requests, 0 for no limit')
  .prefault('1000')
  .transform(Number);

const Schema = z.object({
  REDIS_URL: url(REDIS),
  QUEUE_REDIS_URL: url(REDIS).optional(),
  DATABASE_URL: url(['postgres', 'postgresql']),
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
  PRICE_OVERRIDES_FILE: priceOverridesFile,
  RATE_LIMIT_PER_SECOND: rateLimit,
  AUDIT_BACKLOG_LIMIT: positiveInt(100_000),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional(),
  LOG_LEVEL: logLevel,
});

const toConfig = (env: z.infer<typeof Schema>, all: Environment): ApiConfig => ({
  redisUrl: env.REDIS_URL,
  queueRedisUrl: env.QUEUE_REDIS_URL ?? env.REDIS_URL,
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
  providerKeys: new Set(
    providers.flatMap(({ key_env: name }) => (name !== null && (all[name] ?? '') !== '' ? [name] : [])),
  ),
  otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
  logLevel: env.LOG_LEVEL,
});

/** Throws ConfigError, one line per problem. */
export const readConfig = (env: Environment): ApiConfig => toConfig(parseEnv(Schema, env), env);

/** For main.ts: ends the process with code 78 when the environment does not fit. */
export const loadConfig = (): ApiConfig => toConfig(loadConfigOrExit(Schema, process.env), process.env);
