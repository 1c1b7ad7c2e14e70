/**
 * A whole Signalbox whose every input is full of canaries: what a submitter, a model, a tool and a provider may say, and
 * what the processes hold. Each is planted where only the system itself could put it anywhere else.
 */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { temporaryDir } from '@signalbox/local';
import type { FakeReply, FakeRequest } from '../support/fake-provider/index.ts';
import {
  ALL_KINDS,
  type Canary,
  createPlants,
  KNOWN_FORMS,
  type Plants,
  textOf,
} from '../support/leaks/index.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';
import { startSystem, type System } from './stack.ts';

/** How the model answers one request of a tagged agent. */
export type Scene = (request: FakeRequest, turn: number) => FakeReply;

export interface World {
  readonly system: System;
  readonly plants: Plants;
  readonly otlp: OtlpReceiver;
  /** Where the tool's server listens, `host:port`. */
  readonly toolHost: string;
  /** What the tool's server was sent. */
  readonly toolRequests: readonly string[];
  /** An inline agent that is answered by the scene. */
  agent(name: string, scene: Scene, spec?: object): object;
  stop(): Promise<void>;
}

const base64Key = (): string => randomBytes(32).toString('base64');
const word = (): string => randomBytes(16).toString('base64url');

/** What the processes are given; a key also as the bytes it stands for. */
const heldSecrets = (plants: Plants) => {
  const [current, old, signing] = [base64Key(), base64Key(), base64Key()];
  for (const [place, key] of Object.entries({
    'encryption key': current,
    'old key': old,
    'signing key': signing,
  })) {
    plants.hold(place, key);
    plants.hold(`${place}, its bytes`, Buffer.from(key, 'base64'));
  }
  const secrets = {
    BOOTSTRAP_API_KEY: `sb_${word()}`,
    ANTHROPIC_API_KEY: `fake/${word()}`,
    OPENAI_API_KEY: `fake+${word()}`,
    OTEL_TOKEN: word(),
    REDIS_PASSWORD: `p/${word()}+1`,
  };
  for (const [name, value] of Object.entries(secrets)) plants.hold(name, value);
  return { ...secrets, ENCRYPTION_KEYS: `k2:${current},k1:${old}`, AUDIT_SIGNING_KEY: signing };
};

const startToolServer = async (plants: Plants) => {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    void readText(request).then((body) => {
      requests.push(`${request.url} ${JSON.stringify(request.headers)} ${body}`);
      if (request.url === '/cut') {
        response.writeHead(200).write(plants.text('tool result that breaks off'));
        setTimeout(() => response.destroy(), 20);
        return;
      }
      const [note] = plants.plant('tool result header', ['github token']);
      const type = `text/plain; note=${note?.text ?? ''}`;
      response.writeHead(request.url === '/fails' ? 500 : 200, { 'content-type': type });
      response.end(plants.text(`tool result of ${request.url?.split('?')[0]}`));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
};

const TAG = /#tag ([\w-]+)/;

/** How often the model has called tools; what the submitter put into its mouth does not count. */
const turnOf = ({ messages }: FakeRequest): number =>
  messages.filter((message) => message.role === 'assistant' && message.toolCalls.length > 0).length;

export const startWorld = async (): Promise<World> => {
  const plants = createPlants();
  const { OTEL_TOKEN, REDIS_PASSWORD, ...secrets } = heldSecrets(plants);
  const [otlp, tool] = [await startOtlpReceiver(), await startToolServer(plants)];
  const scenes = new Map<string, Scene>();
  const stopOutside = async (): Promise<void> => {
    await Promise.all([tool.stop(), otlp.stop()]);
  };
  const system = await startSystem({
    ownPostgres: true,
    redisPassword: REDIS_PASSWORD,
    provider: {
      behave: (request) => scenes.get(TAG.exec(request.instructions)?.[1] ?? '')?.(request, turnOf(request)),
    },
    env: {
      ...secrets,
      HTTP_TOOL_ALLOW: tool.host,
      CHECKPOINT_FILE: join(await temporaryDir(), 'checkpoints.ndjson'),
      LOG_LEVEL: 'debug',
      OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url,
      OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer ${OTEL_TOKEN}`,
      OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
      // Whatever a library could be told to print by its own variable.
      OTEL_LOG_LEVEL: 'debug',
      ANTHROPIC_LOG: 'debug',
      OPENAI_LOG: 'debug',
    },
  }).catch(async (error: unknown) => {
    await stopOutside();
    throw error;
  });
  plants.hold('Postgres password', new URL(system.env['DATABASE_URL'] ?? '').password);
  return {
    system,
    plants,
    otlp,
    toolHost: tool.host,
    toolRequests: tool.requests,
    agent: (name, scene, spec = {}) => {
      scenes.set(name, scene);
      const instructions = `#tag ${name} ${plants.text(`instructions of ${name}`)}`;
      return { instructions, model: 'anthropic/claude-haiku-4-5', ...spec };
    },
    stop: async () => {
      try {
        await system.stop();
      } finally {
        await stopOutside();
      }
    },
  };
};

/** So many of them at once that one message of a provider shows them all before it is cut. */
const MESSAGE_CHARS = 200;

/** One text per message: all known forms of a place, in pieces. */
export const inPieces = (plants: Plants, place: string): string[] => {
  const pieces: Canary[][] = [[]];
  for (const canary of plants.plant(place, KNOWN_FORMS)) {
    const last = pieces.at(-1) ?? [];
    if (textOf([...last, canary]).length <= MESSAGE_CHARS) last.push(canary);
    else pieces.push([canary]);
  }
  return pieces.map(textOf);
};

/** An object whose names and values are full of them. */
export const fields = (plants: Plants, place: string): Record<string, string> =>
  Object.fromEntries(
    plants
      .plant(place, ALL_KINDS)
      .map(({ kind, text }, n) => (n % 2 === 0 ? [text.slice(0, 64), kind] : [kind, text])),
  );
