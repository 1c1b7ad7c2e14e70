/** Tracing. Code makes spans through @opentelemetry/api, which does nothing until this has started. */
import { diag, DiagLogLevel } from '@opentelemetry/api';
import type { Logger } from './logger.ts';

export interface TelemetryOptions {
  readonly service: string;
  readonly version: string;
  /**
   * OTEL_EXPORTER_OTLP_ENDPOINT: tracing is on when set. The SDK reads this and the other standard OTEL_* variables
   * (protocol, headers, sampler, resource attributes) from the environment itself.
   */
  readonly endpoint?: string | undefined;
  /** Hears about spans that could not be delivered. */
  readonly logger?: Logger;
}

export interface Telemetry {
  /** Delivers what is still buffered. */
  shutdown(): Promise<void>;
}

/** Exports spans over OTLP (http/protobuf unless OTEL_EXPORTER_OTLP_PROTOCOL says otherwise). */
export async function startTelemetry({
  service,
  version,
  endpoint,
  logger,
}: TelemetryOptions): Promise<Telemetry> {
  if (endpoint === undefined) return { shutdown: () => Promise.resolve() };
  // Loaded only here: the SDK takes about 0.2 s to load, which a process without tracing must not pay.
  const [{ NodeSDK }, { defaultResource, resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/sdk-node'),
    import('@opentelemetry/resources'),
  ]);
  const sdk = new NodeSDK({
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which the SDK merges in later, win.
    resource: defaultResource().merge(
      resourceFromAttributes({ 'service.name': service, 'service.version': version }),
    ),
    // Metrics go to Prometheus and logs to stdout; without these the SDK would send both over OTLP too.
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [],
  });
  if (logger !== undefined) logDiagnostics(logger);
  sdk.start();
  return { shutdown: () => sdk.shutdown() };
}

/** The SDK tells of an error as JSON, in which its stack has a place too; null: it says something else. */
function faultIn(message: string): Error | null {
  try {
    const told = JSON.parse(message) as { message?: unknown } | null;
    if (typeof told?.message !== 'string') return null;
    return Object.assign(new Error(told.message), { stack: undefined });
  } catch {
    return null;
  }
}

function logDiagnostics(logger: Logger): void {
  const warn = (message: string, ...details: unknown[]) => {
    const fault = faultIn(message);
    if (fault === null) logger.warn(`telemetry: ${message}`, { details });
    else logger.warn('spans cannot be delivered to OTEL_EXPORTER_OTLP_ENDPOINT', { error: fault });
  };
  const ignore = () => undefined;
  const options = { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true };
  diag.setLogger({ error: warn, warn, info: ignore, debug: ignore, verbose: ignore }, options);
}
