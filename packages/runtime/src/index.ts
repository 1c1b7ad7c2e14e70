export { type BackoffOptions, backoffMs } from './backoff.ts';
export { type Clock, pause, systemClock } from './clock.ts';
export {
  ConfigError,
  type Environment,
  exitOnProblems,
  loadConfigOrExit,
  parseEnv,
} from './config.ts';
export {
  build,
  csv,
  intBetween,
  keyring,
  type LogLevel,
  logLevel,
  otlpEndpoint,
  port,
  positiveInt,
  seconds,
  url,
  usd,
} from './config-fields.ts';
export { type HealthServer, type HealthServerOptions, startHealthServer } from './health.ts';
export {
  createJsonSchemas,
  type JsonSchemas,
  type SchemaQuestion,
  type SchemaVerdict,
} from './json-schema.ts';
export {
  Heartbeat,
  type HeartbeatOptions,
  type LiveChecks,
  liveReport,
  type LivenessWatch,
  watchLiveness,
} from './liveness.ts';
export { type Address, listen, ListenError } from './listen.ts';
export { loadedSecrets } from './loaded-secrets.ts';
export { createLogger, type LogFields, type Logger, type LoggerOptions } from './logger.ts';
export { ManualClock } from './manual-clock.ts';
export { messageOf } from './message-of.ts';
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
  openText,
  seal,
  SealError,
  type SealingKey,
  sealingKey,
  sealText,
  sha256Hex,
  type WrappingKey,
} from './sealing.ts';
export { type Service, type ServiceOptions, startService } from './service.ts';
export { createShutdown, type Shutdown, type ShutdownOptions, type StepOptions } from './shutdown.ts';
export { startTelemetry, type Telemetry, type TelemetryOptions } from './telemetry.ts';
export { TimeoutError, withTimeout } from './timeout.ts';
export { parseUsd } from './usd.ts';
export { type JsonValue, wellFormed, wellFormedDeep } from './well-formed.ts';
export { VERSION } from './version.ts';
