import type { Client, RunEvent } from './client.ts';
import { eventLine } from './event-line.ts';
import { line } from './show.ts';

export interface FollowOptions {
  /** Called for each piece of text while the model of this step writes it. */
  readonly onText?: (step: number) => Promise<void>;
}

/** Shows the events of a run as they come, and what its model says while it says it; returns the events. */
export async function followRun(
  client: Client,
  id: string,
  options: FollowOptions = {},
): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  let text = '';
  for await (const item of client.follow(id)) {
    if (item.kind === 'delta') {
      text += item.text;
      await options.onText?.(item.step);
      continue;
    }
    if (text !== '') line(`    said: ${text.replaceAll(/\s+/g, ' ').trim()}`);
    text = '';
    line(eventLine(item.event));
    events.push(item.event);
  }
  return events;
}

export const ofType = (events: readonly RunEvent[], type: string): RunEvent[] =>
  events.filter((event) => event.type === type);
