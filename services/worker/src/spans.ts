import {
  type Attributes,
  context,
  type Link,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { splitModelRef } from '@signalbox/contracts';

/**
 * OpenTelemetry spans with GenAI names (semantic conventions 1.41). An activation is its own trace, linked to
 * the submitter's: a run may be queued for hours. No prompt or completion text goes on a span (R13).
 */

const tracer = trace.getTracer('signalbox');

const PROVIDER_NAMES: Record<string, string> = {
  gemini: 'gcp.gemini',
  mistral: 'mistral_ai',
  'oauth-gpt': 'oauth_gpt',
};

const inSpan = <T>(
  name: string,
  options: { kind: SpanKind; attributes: Attributes; links?: Link[] },
  work: () => Promise<T>,
): Promise<T> =>
  tracer.startActiveSpan(name, { ...options, root: options.links !== undefined }, async (span: Span) => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.setAttribute('error.type', error instanceof Error ? error.name : 'unknown');
      throw error;
    } finally {
      span.end();
    }
  });

const linksOf = (traceparent: string | null): Link[] => {
  if (traceparent === null) return [];
  const spanContext = trace.getSpanContext(propagation.extract(context.active(), { traceparent }));
  return spanContext === undefined ? [] : [{ context: spanContext }];
};

export interface Spans {
  agent<T>(
    agent: { name: string | null; model: string; traceparent: string | null },
    work: () => Promise<T>,
  ): Promise<T>;
  chat<T>(model: string, work: () => Promise<T>): Promise<T>;
  tool<T>(tool: { name: string; callId: string }, work: () => Promise<T>): Promise<T>;
}

/** Where nobody is told of spans none is made: the API's own that do nothing still cost each step their making. */
const NO_SPANS: Spans = {
  agent: (_, work) => work(),
  chat: (_, work) => work(),
  tool: (_, work) => work(),
};

export const spansTo = (endpoint: string | undefined): Spans => (endpoint === undefined ? NO_SPANS : SPANS);

const SPANS: Spans = {
  agent: ({ name, model, traceparent }, work) =>
    inSpan(
      `invoke_agent ${name ?? 'inline'}`,
      {
        kind: SpanKind.INTERNAL,
        attributes: {
          'gen_ai.operation.name': 'invoke_agent',
          'gen_ai.agent.name': name ?? 'inline',
          'gen_ai.request.model': model,
        },
        links: linksOf(traceparent),
      },
      work,
    ),
  chat: (ref, work) => {
    const { provider, model } = splitModelRef(ref);
    return inSpan(
      `chat ${model}`,
      {
        kind: SpanKind.CLIENT,
        attributes: {
          'gen_ai.operation.name': 'chat',
          'gen_ai.provider.name': PROVIDER_NAMES[provider] ?? provider,
          'gen_ai.request.model': model,
        },
      },
      work,
    );
  },
  tool: ({ name, callId }, work) =>
    inSpan(
      `execute_tool ${name}`,
      {
        kind: SpanKind.INTERNAL,
        attributes: {
          'gen_ai.operation.name': 'execute_tool',
          'gen_ai.tool.name': name,
          'gen_ai.tool.call.id': callId,
        },
      },
      work,
    ),
};
