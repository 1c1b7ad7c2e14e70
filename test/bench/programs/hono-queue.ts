/**
 * The least a durable submit can be on this queue: Hono reads a JSON body, adds a job and answers once Redis has it.
 * `node hono-queue.ts <Redis URL> <port>`
 */
import { serve } from '@hono/node-server';
import { Queue } from 'bullmq';
import { Hono } from 'hono';
import { Redis } from 'ioredis';

const [url = '', port] = process.argv.slice(2);
const queue = new Queue('bench', { connection: new Redis(url, { maxRetriesPerRequest: null }) });
const app = new Hono();
app.get('/', (c) => c.text('ready'));
app.post('/v1/runs', async (c) => {
  const { id } = await queue.add('run', await c.req.json());
  return c.json({ id }, 202);
});
serve({ fetch: app.fetch, port: Number(port), hostname: '127.0.0.1' });
process.once('SIGTERM', () => process.exit(0));
