export { backoffMs } from './backoff.ts';
export { type Clock, pause, systemClock } from './clock.ts';
export { ConfigError, type Environment, exitOnProblems, loadConfigOrExit, parseEnv } from './config.ts';
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
export { startHealthServer } from './health.ts';
export { createJsonSchemas, type JsonSchemas, type SchemaVerdict } from './json-schema.ts';
export { Heartbeat, liveReport, watchLiveness } from './liveness.ts';
export { listen } from './listen.ts';
export { loadedSecrets } from './loaded-secrets.ts';
export { createLogger, type Logger } from './logger.ts';
export { ManualClock } from './manual-clock.ts';
export { messageOf } from './message-of.ts';
export { type Counter, createMetrics, type Gauge, type Histogram, type Metrics } from './metrics.ts';
export { answerProbe } from './probes.ts';
export { type CheckResult, checkReadiness, type ReadyReport } from './readiness.ts';
export {
  createKeyring,
  digest,
  type Keyring,
  newDataKey,
  open,
  openText,
  seal,
  MissingKeyError,
  SealError,
  type SealingKey,
  sealingKey,
  sealText,
  sha256Hex,
  type WrappingKey,
} from './sealing.ts';
export { startService } from './service.ts';
export { SharedClock } from './shared-clock.ts';
export type { Shutdown } from './shutdown.ts';
export { steadyClock } from './steady-clock.ts';
export { withTimeout } from './timeout.ts';
export { Trouble } from './trouble.ts';
export { wellFormed, wellFormedDeep } from './well-formed.ts';
export { VERSION } from './version.ts';
