/** What the demo's agent works with: a small HTTP service with one order, and the agent that prices it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const ORDER = {
  order: 17,
  items: [{ name: 'lamp', quantity: 2, price: 49.5 }],
  shipping: 12,
  currency: 'EUR',
};

export const QUESTION = 'What does order 17 cost, with shipping and 19% VAT?';
export const TOTAL = '132.09';

export interface OrderService {
  /** `host:port`, as in HTTP_TOOL_ALLOW. */
  readonly host: string;
  /** How often the order was read. */
  requests(): number;
  stop(): Promise<void>;
}

export async function startOrderService(): Promise<OrderService> {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    const found = request.url === '/orders/17';
    response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(found ? ORDER : { error: 'no such order' }));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    host: `127.0.0.1:${port}`,
    requests: () => requests,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export const orderAgent = (model: string, host: string): object => ({
  instructions:
    `You answer questions about orders. Read an order with http_request: GET http://${host}/orders/<number>. ` +
    'Calculate with calculator: (items + shipping) * 1.19. Then answer in one sentence.',
  model,
  tools: ['http_request', 'calculator'],
  limits: { max_steps: 10, max_output_tokens: 300 },
});

/** What the scripted model says, turn by turn; the second turn takes its time, so that a worker can die in it. */
export const orderScript = (host: string): object => ({
  turns: [
    {
      text: 'I look the order up.',
      tool_calls: [{ name: 'http_request', arguments: { method: 'GET', url: `http://${host}/orders/17` } }],
      chunk_delay_ms: 30,
    },
    {
      text: 'The order holds two lamps at 49.50 EUR each and 12 EUR of shipping, so I add that up and then put 19 percent on top.',
      tool_calls: [{ name: 'calculator', arguments: { expression: '(2 * 49.5 + 12) * 1.19' } }],
      chunk_delay_ms: 60,
    },
    { text: 'Order 17 costs {{tool_results}} EUR, shipping and VAT included.', chunk_delay_ms: 30 },
  ],
});
