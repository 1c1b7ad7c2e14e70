import type { RunEvent } from './client.ts';
import { usdOfNano } from './show.ts';

interface Settlement {
  readonly observed_nano: number;
  readonly estimated: boolean;
}

const charged = (settlement: Settlement | null): string =>
  settlement === null
    ? ''
    : `, charged ${usdOfNano(settlement.observed_nano)}${settlement.estimated ? ' (estimated)' : ''}`;

const asked = (calls: Data['tool_calls']): string =>
  calls.length === 0 ? '' : `, asks for ${calls.map(({ name }) => name).join(', ')}`;

/** The fields that the sentences below name; which of them an event has depends on its type. */
interface Data {
  readonly step: number;
  readonly attempt: number;
  readonly name: string;
  readonly model: string;
  readonly worker: string;
  readonly resumed: boolean;
  readonly message: string;
  readonly duration_ms: number;
  readonly need_nano: number;
  readonly hold: { readonly amount_nano: number } | null;
  readonly settlement: Settlement | null;
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number };
  readonly tool_calls: readonly { readonly name: string }[];
}

const SENTENCES: Readonly<Record<string, (data: Data, event: RunEvent) => string>> = {
  'run.submitted': ({ model }) => `for ${model}`,
  'run.claimed': ({ worker, resumed }, { epoch }) =>
    `epoch ${epoch}, by worker ${worker.slice(-6)}${resumed ? ', which resumes it' : ''}`,
  'llm.requested': ({ step, attempt, hold }) =>
    `step ${step}, attempt ${attempt}: ${hold === null ? 'free' : `${usdOfNano(hold.amount_nano)} held before the call`}`,
  'llm.completed': ({ step, usage, settlement, tool_calls }) =>
    `step ${step}: ${usage.input_tokens} tokens in, ${usage.output_tokens} out${charged(settlement)}${asked(tool_calls)}`,
  'llm.failed': ({ step, message, settlement }) => `step ${step}: ${message}${charged(settlement)}`,
  'tool.requested': ({ step, attempt, name }) => `step ${step}, attempt ${attempt}: ${name}`,
  'tool.completed': ({ step, name, duration_ms: ms }) => `step ${step}: ${name}, ${ms} ms`,
  'tool.failed': ({ step, name }) => `step ${step}: ${name}`,
  'cost.expired': ({ step, attempt, settlement }) =>
    `step ${step}, attempt ${attempt}: what it cost is unknown, so all of its hold counts${charged(settlement)}`,
  'cost.denied': ({ step, need_nano }) => `step ${step}: no room to hold ${usdOfNano(need_nano)}`,
  'run.failed': ({ message }) => message,
};

/** One event as one line. */
export function eventLine(event: RunEvent): string {
  const sentence = SENTENCES[event.type]?.(event.data as unknown as Data, event) ?? '';
  return `${String(event.seq).padStart(2)}  ${event.type.padEnd(15)} ${sentence}`.trimEnd();
}
