/** What every service process begins with: its log, its orderly end and its tracing. The rest is its main.ts. */
import type { LogLevel } from './config-fields.ts';
import { createLogger, type Logger, type LogRedactor } from './logger.ts';
import { createShutdown, type Shutdown } from './shutdown.ts';
import { startTelemetry } from './telemetry.ts';
import { VERSION } from './version.ts';

export interface ServiceOptions {
  /** As logs name it; traces put `signalbox-` before it. */
  readonly name: string;
  readonly logLevel: LogLevel;
  /** OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly otlpEndpoint: string | undefined;
  readonly redactor: LogRedactor;
}

export interface Service {
  readonly logger: Logger;
  readonly shutdown: Shutdown;
}

/** Node would write them on stderr, as text of several lines: what pg says of an `sslmode`, say. */
const logWarnings = (logger: Logger): void => {
  process.removeAllListeners('warning');
  process.on('warning', (warning) => logger.warn('a library or Node warns', { error: warning }));
};

/** Telemetry is the last to stop, so that spans of the stop are delivered too. */
export const startService = async ({
  name,
  logLevel,
  otlpEndpoint,
  redactor,
}: ServiceOptions): Promise<Service> => {
  const logger = createLogger({ service: name, level: logLevel, redactor });
  logWarnings(logger);
  const shutdown = createShutdown({ logger, exit: (code) => process.exit(code) });
  const telemetry = await startTelemetry({
    service: `signalbox-${name}`,
    version: VERSION,
    endpoint: otlpEndpoint,
    logger,
  });
  shutdown.onStop('telemetry', () => telemetry.shutdown(), { mayFail: true });
  return { logger, shutdown };
};
