/** The requests of the proof that the api refuses. */
import assert from 'node:assert/strict';
import { ONE_WORD } from '../support/leaks/index.ts';
import type { ApiClient } from './client.ts';
import type { Piece } from './secrets-evidence.ts';
import { fields, type World } from './secrets-world.ts';

/** Requests that are refused, each with its canaries in another place, and their answers; the last has this id. */
export const beRefused = async ({ system, plants }: World, requestId: string): Promise<Piece[]> => {
  const { api } = system;
  const one = (place: string): string => encodeURIComponent(plants.text(place));
  const agent = { instructions: plants.text('refused: instructions'), model: 'mock/echo' };
  const header = (place: string): string => plants.text(place, ONE_WORD).replaceAll(' ; ', '-');
  const requests: [string, Parameters<ApiClient['request']>[1]?][] = [
    ['/v1/runs', { body: `{"input": "${plants.text('refused: bad JSON')}` }],
    ['/v1/runs', { body: { agent, input: 'x', ...fields(plants, 'refused: unknown fields') } }],
    ['/v1/runs', { body: { agent, input: 'x', priority: plants.text('refused: priority') } }],
    ['/v1/runs', { body: { agent: plants.text('refused: agent'), input: 'x' } }],
    ['/v1/runs', { body: { agent: { ...agent, model: `openai/${header('refused: model')}` }, input: 'x' } }],
    ['/v1/runs', { body: { agent, input: 'x', metadata: { k: one('refused: metadata').repeat(9) } } }],
    [`/v1/runs?status=${one('refused: status')}`],
    [`/v1/runs?${one('refused: parameter')}=1`],
    [`/v1/runs?cursor=${one('refused: cursor').slice(0, 190)}`],
    [`/v1/runs/${one('refused: id')}`],
    [`/v1/${one('refused: path')}`],
    ['/v1/runs', { headers: { authorization: `Bearer ${header('refused: key')}` } }],
    [
      '/v1/runs',
      { headers: { authorization: `Basic ${Buffer.from(header('refused: basic')).toString('base64')}` } },
    ],
    ['/v1/runs?limit=x', { headers: { 'x-request-id': header('request id').replaceAll('.', '_') } }],
    ['/v1/runs?limit=x', { headers: { cookie: header('cookie'), traceparent: header('traceparent') } }],
    [
      '/v1/runs',
      { body: { agent, input: 'x' }, headers: { 'idempotency-key': `${header('refused: idempotency')} x` } },
    ],
    ['/v1/runs?limit=x', { headers: { 'x-request-id': requestId } }],
  ];
  const answers: Piece[] = [];
  for (const [n, [path, init]] of requests.entries()) {
    const { status, headers, json } = await api.request(path, init);
    assert.ok(status >= 400 && status < 500, `${n}: ${path.slice(0, 60)}: ${status}`);
    answers.push({ where: `${n}: ${status}`, data: JSON.stringify([...headers]) + JSON.stringify(json) });
  }
  return answers;
};
