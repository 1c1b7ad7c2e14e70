/** Takes whatever OTLP/HTTP exporters send (traces, metrics, logs) and keeps every byte, unpacked. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';

export interface OtlpRequest {
  readonly path: string;
  /** Without the credentials, which are meant for the collector. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

export interface OtlpReceiver {
  readonly url: string;
  readonly received: readonly OtlpRequest[];
  stop(): Promise<void>;
}

export const startOtlpReceiver = async (): Promise<OtlpReceiver> => {
  const received: OtlpRequest[] = [];
  const server = createServer((request, response) => {
    void buffer(request).then((sent) => {
      const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent;
      const { authorization: _, ...headers } = request.headers;
      received.push({ path: request.url ?? '', headers, body });
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
};
