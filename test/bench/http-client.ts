/** A client that costs little itself: kept connections, node:http. */
import { Agent, request } from 'node:http';

export interface HttpClient {
  /** Throws unless the status is 2xx. */
  send(method: string, path: string, body?: string): Promise<string>;
  close(): void;
}

export const httpClient = (url: string, headers: Readonly<Record<string, string>>): HttpClient => {
  const agent = new Agent({ keepAlive: true });
  const { hostname, port } = new URL(url);
  return {
    send: (method, path, body) =>
      new Promise((resolve, reject) => {
        const content =
          body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
        const sent = request(
          { agent, hostname, port, method, path, headers: { ...headers, ...content } },
          (response) => {
            let text = '';
            response.setEncoding('utf8');
            response.on('data', (chunk: string) => (text += chunk));
            response.once('error', reject);
            response.once('end', () => {
              const { statusCode = 0 } = response;
              if (statusCode >= 200 && statusCode < 300) resolve(text);
              else reject(new Error(`${method} ${path}: ${statusCode} ${text}`));
            });
          },
        );
        sent.once('error', reject);
        sent.end(body);
      }),
    close: () => agent.destroy(),
  };
};
