export { type BackoffOptions, backoffMs } from './backoff.ts';
export { type Clock, systemClock } from './clock.ts';
export { ConfigError, type Environment, EXIT_BAD_CONFIG, loadConfigOrExit, parseEnv } from './config.ts';
export { csv, keyring, type LogLevel, logLevel, port, positiveInt, url, usd } from './config-fields.ts';
export { type HealthServer, type HealthServerOptions, startHealthServer } from './health.ts';
export type { Redact } from './loggable.ts';
export { createLogger, type LogFields, type Logger, type LoggerOptions } from './logger.ts';
export { ManualClock } from './manual-clock.ts';
export {
  type Counter,
  createMetrics,
  type Gauge,
  type GaugeOptions,
  type Histogram,
  type HistogramOptions,
  type MetricOptions,
  type Metrics,
} from './metrics.ts';
export { answerProbe, type ProbeAnswer, type Probes } from './probes.ts';
export {
  type Check,
  type CheckResult,
  checkReadiness,
  type LiveReport,
  type ReadyReport,
} from './readiness.ts';
export {
  createKeyring,
  digest,
  type Keyring,
  newDataKey,
  open,
  seal,
  SealError,
  type SealingKey,
  sealingKey,
  sha256Hex,
  type WrappingKey,
} from './sealing.ts';
export { createShutdown, type Shutdown, type ShutdownOptions } from './shutdown.ts';
export { startTelemetry, type Telemetry, type TelemetryOptions } from './telemetry.ts';
export { TimeoutError, withTimeout } from './timeout.ts';
export { parseUsd } from './usd.ts';
export { type JsonValue, wellFormed, wellFormedDeep } from './well-formed.ts';
