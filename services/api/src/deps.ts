import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Db } from '@signalbox/audit-store';
import type { Nano, PricePort, Principal } from '@signalbox/contracts';
import type { RedactorOf } from '@signalbox/engine';
import type { KeyVault, Models } from '@signalbox/providers';
import type { ActivationQueue, Partition, Tail } from '@signalbox/run-state';
import type { Clock, JsonSchemas, Keyring, Logger, Metrics, ReadyReport } from '@signalbox/runtime';
import type { Context } from 'hono';
import type { ApiMetrics } from './api-metrics.ts';
import type { RateLimit } from './http/rate-limit.ts';
import type { Refusals } from './audit/refusals.ts';
import type { OpenAnswers } from './runs/open-answers.ts';
import type { RunReader } from './runs/run-reader.ts';
import type { RunViews } from './runs/run-views.ts';
import type { StoreShare } from './audit/store-share.ts';

/** What the caps of a new tenant begin with. */
export interface DefaultCaps {
  readonly runNano: Nano;
  readonly userDailyNano: Nano;
  readonly tenantDailyNano: Nano;
}

/** Everything a route needs; main.ts and the tests build it. */
export interface ApiDeps {
  readonly partition: Partition;
  readonly queue: ActivationQueue;
  readonly tail: Tail;
  readonly db: Db;
  readonly runs: RunReader;
  readonly views: RunViews;
  readonly keyring: Keyring;
  readonly redactorOf: RedactorOf;
  readonly prices: PricePort;
  readonly clock: Clock;
  /** Version of this code. */
  readonly build: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly counters: ApiMetrics;
  readonly ready: () => Promise<ReadyReport>;
  readonly auditBacklogLimit: number;
  readonly defaultCaps: DefaultCaps;
  readonly rateLimit: RateLimit;
  readonly refusals: Refusals;
  readonly storeShare: StoreShare;
  readonly openAnswers: OpenAnswers;
  /** Of each tenant, as it is now. */
  readonly vault: KeyVault;
  readonly models: Pick<Models, 'ping'>;
  readonly schemas: JsonSchemas;
  /** Aborted when connections are about to be closed: open streams and waits end, new requests are refused. */
  readonly closing: AbortSignal;
}

export interface ApiEnv {
  Variables: {
    principal: Principal;
    /** Throws `unauthenticated` once the key of this request is no longer good. */
    checkKey: () => Promise<unknown>;
    requestId: string;
  };
}

export type Api = OpenAPIHono<ApiEnv>;
export type ApiContext = Context<ApiEnv>;

/** A route: adds itself to the app. */
export type Route = (app: Api, deps: ApiDeps) => void;
