/**
 * The clients of a chaos run: lanes that submit, read, abort and watch, at either api, and retry what was not
 * answered with the same Idempotency-Key. They keep the history that the checker believes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, type ApiClient, createClient, type RequestOptions } from '../e2e/client.ts';
import { seeded } from '../e2e/cap-race-plan.ts';
import type { Abort, History, Submission } from './history.ts';
import { bodyOf, planRun, type RunPlan, type Tenant } from './plan.ts';

export interface ClientsOptions {
  readonly seed: number;
  readonly lanes: number;
  readonly apiUrls: readonly string[];
  readonly keys: Readonly<Record<Tenant, string>>;
  readonly history: History;
}

export interface Clients {
  /** No new runs; resolves when every lane has an answer, or gave up after `patienceMs`. */
  stop(patienceMs: number): Promise<void>;
  submitted(): number;
}

const REQUEST_MS = 8000;
/** A lane looks after its run no longer than this, so that stalled runs do not stop the load. */
const WATCH_MS = 3000;
const RETRY_MS = 120;
const REFUSED = [429, 503];
const ENDED = ['succeeded', 'failed', 'aborted'];

export const startClients = (options: ClientsOptions): Clients => {
  const { seed, history, apiUrls, keys } = options;
  const random = seeded(seed, 'clients');
  const stopping = new AbortController();
  const givingUp = new AbortController();
  let n = 0;

  const clients = new Map<string, ApiClient>();
  const someApi = (tenant: Tenant): ApiClient => {
    const url = apiUrls[Math.floor(random() * apiUrls.length)] ?? '';
    const name = `${url} ${tenant}`;
    const client = clients.get(name) ?? createClient(url, keys[tenant], { timeoutMs: REQUEST_MS });
    clients.set(name, client);
    return client;
  };

  /** Null: no answer. */
  const ask = async (tenant: Tenant, path: string, init: RequestOptions = {}): Promise<Answer | null> => {
    const api = someApi(tenant);
    try {
      return await api.request(path, init);
    } catch {
      history.broken.push({ url: api.url, at: Date.now() });
      return null;
    }
  };

  const submit = async (plan: RunPlan): Promise<string | null> => {
    const startedAt = Date.now();
    const submission: Submission = {
      plan,
      tenant: plan.tenant,
      startedAt,
      runIds: new Set(),
      ackedAt: null,
      unanswered: 0,
      refusals: [],
    };
    history.submissions.push(submission);
    const runAt = plan.runInMs === null ? null : new Date(startedAt + plan.runInMs).toISOString();
    const init = { body: bodyOf(plan, runAt), headers: { 'idempotency-key': plan.tag } };
    while (!givingUp.signal.aborted) {
      const answer = await ask(plan.tenant, '/v1/runs', init);
      if (answer !== null && [200, 202].includes(answer.status)) {
        const id = String(answer.json['id']);
        submission.runIds.add(id);
        submission.ackedAt = Date.now();
        return id;
      }
      if (answer === null) submission.unanswered += 1;
      else if (REFUSED.includes(answer.status)) submission.refusals.push(String(answer.json['code']));
      else {
        submission.unanswered += 1;
        history.badAnswers.push(`submit ${plan.tag}: ${answer.status} ${JSON.stringify(answer.json)}`);
        if (answer.status < 500) return null;
      }
      await sleep(RETRY_MS + random() * RETRY_MS);
    }
    return null;
  };

  const readBack = async ({ tenant }: RunPlan, id: string): Promise<string | null> => {
    const answer = await ask(tenant, `/v1/runs/${id}`);
    if (answer === null) return null;
    history.reads += 1;
    if (answer.status === 200) return String(answer.json['status']);
    if (!REFUSED.includes(answer.status)) history.badReads.push(`${id}: ${answer.status} at ${Date.now()}`);
    return null;
  };

  const abort = async ({ tenant }: RunPlan, runId: string): Promise<void> => {
    const record: Abort = { runId, askedAt: Date.now(), ackedAt: null, tooLate: false };
    history.aborts.push(record);
    while (!givingUp.signal.aborted) {
      record.askedAt = Date.now();
      const answer = await ask(tenant, `/v1/runs/${runId}/abort`, { body: { reason: 'chaos' } });
      if (answer?.status === 202) record.ackedAt = Date.now();
      else if (answer?.status === 409) record.tooLate = true;
      else if (answer !== null && !REFUSED.includes(answer.status))
        history.badAnswers.push(`abort ${runId}: ${answer.status} ${JSON.stringify(answer.json)}`);
      else {
        await sleep(RETRY_MS);
        continue;
      }
      return;
    }
  };

  const readEvents = async ({ tenant }: RunPlan, runId: string): Promise<void> => {
    const answer = await ask(tenant, `/v1/runs/${runId}/events`);
    if (answer?.status !== 200) return;
    for (const { seq, hash } of answer.json['data'] as { seq: number; hash: string }[])
      history.seen.push({ runId, seq, hash });
  };

  const live = async (plan: RunPlan): Promise<void> => {
    const id = await submit(plan);
    if (id === null) return;
    await readBack(plan, id);
    const until = Date.now() + WATCH_MS;
    if (plan.abortAfterMs !== null) {
      await sleep(plan.abortAfterMs);
      await abort(plan, id);
    }
    while (Date.now() < until && !stopping.signal.aborted) {
      const status = await readBack(plan, id);
      if (status !== null && ENDED.includes(status)) break;
      await sleep(200 + random() * 200);
    }
    if (random() < 0.3) await readEvents(plan, id);
  };

  const lane = async (): Promise<void> => {
    while (!stopping.signal.aborted) await live(planRun(seed, (n += 1)));
  };
  const lanes = Promise.all(Array.from({ length: options.lanes }, lane));

  return {
    stop: async (patienceMs) => {
      stopping.abort();
      const timer = setTimeout(() => givingUp.abort(), patienceMs);
      await lanes;
      clearTimeout(timer);
    },
    submitted: () => n,
  };
};
