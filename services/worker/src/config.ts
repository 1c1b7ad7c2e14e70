import { priceOverridesFile } from '@signalbox/providers';
import { csv, keyring, loadConfigOrExit, logLevel, port, positiveInt, url } from '@signalbox/runtime';
import { z } from 'zod';

const text = z.string().optional();
const redis = url(['redis', 'rediss']);
const http = url(['http', 'https']).optional();

const Environment = z
  .object({
    REDIS_URL: redis,
    QUEUE_REDIS_URL: redis.optional(),
    ENCRYPTION_KEYS: keyring,
    HOST: z.string().default('127.0.0.1'),
    METRICS_PORT: port(9464),
    WORKER_CONCURRENCY: positiveInt(100),
    LEASE_SECONDS: positiveInt(30),
    DRAIN_SECONDS: positiveInt(330),
    ANTHROPIC_API_KEY: text,
    OPENAI_API_KEY: text,
    GEMINI_API_KEY: text,
    GROQ_API_KEY: text,
    MISTRAL_API_KEY: text,
    OPENROUTER_API_KEY: text,
    DEEPSEEK_API_KEY: text,
    ANTHROPIC_BASE_URL: http,
    OPENAI_BASE_URL: http,
    GEMINI_BASE_URL: http,
    GROQ_BASE_URL: http,
    MISTRAL_BASE_URL: http,
    OPENROUTER_BASE_URL: http,
    DEEPSEEK_BASE_URL: http,
    OAUTH_GPT_BRIDGE_URL: http,
    OAUTH_GPT_BRIDGE_TOKEN: text,
    PRICE_OVERRIDES_FILE: priceOverridesFile,
    HTTP_TOOL_ALLOW: csv,
    OTEL_EXPORTER_OTLP_ENDPOINT: text,
    LOG_LEVEL: logLevel,
  })
  .transform((env) => ({
    redisUrl: env.REDIS_URL,
    queueRedisUrl: env.QUEUE_REDIS_URL ?? env.REDIS_URL,
    encryptionKeys: env.ENCRYPTION_KEYS,
    host: env.HOST,
    metricsPort: env.METRICS_PORT,
    concurrency: env.WORKER_CONCURRENCY,
    leaseMs: env.LEASE_SECONDS * 1000,
    drainMs: env.DRAIN_SECONDS * 1000,
    keys: {
      anthropic: env.ANTHROPIC_API_KEY,
      openai: env.OPENAI_API_KEY,
      gemini: env.GEMINI_API_KEY,
      groq: env.GROQ_API_KEY,
      mistral: env.MISTRAL_API_KEY,
      openrouter: env.OPENROUTER_API_KEY,
      deepseek: env.DEEPSEEK_API_KEY,
      'oauth-gpt': env.OAUTH_GPT_BRIDGE_TOKEN,
    },
    baseUrls: {
      anthropic: env.ANTHROPIC_BASE_URL,
      openai: env.OPENAI_BASE_URL,
      gemini: env.GEMINI_BASE_URL,
      groq: env.GROQ_BASE_URL,
      mistral: env.MISTRAL_BASE_URL,
      openrouter: env.OPENROUTER_BASE_URL,
      deepseek: env.DEEPSEEK_BASE_URL,
      'oauth-gpt': env.OAUTH_GPT_BRIDGE_URL,
    },
    prices: env.PRICE_OVERRIDES_FILE === undefined ? {} : { overrides: env.PRICE_OVERRIDES_FILE },
    httpToolAllow: env.HTTP_TOOL_ALLOW,
    otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
    logLevel: env.LOG_LEVEL,
  }));

export type WorkerConfig = z.infer<typeof Environment>;

/** Reads the environment; on any problem prints one message that lists all of them and exits. */
export const loadConfig = (): WorkerConfig => loadConfigOrExit(Environment, process.env);
