import type { Server } from 'node:http';

export interface Address {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** The variable that named the port; HOST named the host. */
  readonly variable: string;
}

const TAKEN = 'EADDRINUSE';
const RESERVED = 'EACCES';
const NO_HOST = ['ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL'];

const adviceFor = (code: string, variable: string): string => {
  if (code === TAKEN) return `it is taken; end what listens there, or set ${variable} to another`;
  if (code === RESERVED) return `it is reserved; set ${variable} to one from 1024 on`;
  if (NO_HOST.includes(code))
    return 'set HOST to an address of this machine, such as 127.0.0.1, or to 0.0.0.0 for all of them';
  return `set HOST and ${variable} to what this machine has`;
};

/** The message says all that an operator needs. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: string;

  constructor({ host, port, variable }: Address, cause: NodeJS.ErrnoException) {
    const code = cause.code ?? cause.message;
    super(`cannot listen on port ${port} of ${host} (${code}): ${adviceFor(code, variable)}`, { cause });
    this.code = code;
  }
}

/** Resolves with the port. Rejects with `ListenError` when the address cannot be bound. */
export function listen(server: Server, address: Address): Promise<number> {
  const { host, port } = address;
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(new ListenError(address, error));
    server.once('error', fail);
    server.listen(port, host, () => {
      server.off('error', fail);
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : port);
    });
  });
}
