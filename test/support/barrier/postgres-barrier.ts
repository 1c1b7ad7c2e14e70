import { type Barrier, type Carry, type Gate, messages, pass, startBarrier } from './barrier.ts';

/** One statement on its way to Postgres, with the text of its parameters. */
export interface Statement {
  readonly sql: string;
  readonly params: string;
}

const typeOf = (message: Buffer): string => String.fromCharCode(message[0] ?? 0);

/** A message is its type, its length and what it says. */
const typedEnd = (bytes: Buffer): number => {
  if (bytes.length < 5) return -1;
  const end = 1 + bytes.readInt32BE(1);
  return end <= bytes.length ? end : -1;
};

/** What a client says first has no type. */
const startupEnd = (bytes: Buffer): number =>
  bytes.length >= 4 && bytes.readInt32BE(0) <= bytes.length ? bytes.readInt32BE(0) : -1;

const HEADER = 5;

const text = (message: Buffer, at: number): { value: string; next: number } => {
  const end = message.indexOf(0, at);
  return { value: message.toString('utf8', at, end), next: end + 1 };
};

/** Gathers messages until they make a request that the server answers: a query, or all up to a sync. */
class Requests {
  #messages: Buffer[] = [];
  #sql = '';
  #params = '';
  readonly #prepared = new Map<string, string>();

  /** Null: more is to come. */
  add(message: Buffer): { bytes: Buffer; statement: Statement | null } | null {
    const type = typeOf(message);
    this.#messages.push(message);
    if (type === 'P') this.#parse(message);
    else if (type === 'B') this.#bind(message);
    else if (type === 'Q') this.#sql = text(message, HEADER).value;
    if ('PBDEC'.includes(type)) return null;
    const bytes = Buffer.concat(this.#messages);
    const statement = type === 'Q' || type === 'S' ? { sql: this.#sql, params: this.#params } : null;
    this.#messages = [];
    this.#params = '';
    return { bytes, statement };
  }

  #parse(message: Buffer): void {
    const name = text(message, HEADER);
    this.#prepared.set(name.value, text(message, name.next).value);
  }

  #bind(message: Buffer): void {
    const name = text(message, text(message, HEADER).next);
    this.#sql = this.#prepared.get(name.value) ?? '';
    this.#params = message.toString('utf8', name.next);
  }
}

const READY = 'Z';

const carry =
  (gate: Gate<Statement>): Carry =>
  (client, server) => {
    const open: (Statement | null)[] = [];
    let started = false;
    const requests = async (): Promise<void> => {
      const gathering = new Requests();
      for await (const message of messages(client, (bytes) => (started ? typedEnd : startupEnd)(bytes))) {
        if (!started) {
          started = true;
          open.push(null);
          server.write(message);
          continue;
        }
        const request = gathering.add(message);
        if (request === null) continue;
        const { bytes, statement } = request;
        if (statement !== null) {
          await pass(gate(statement, 'before'));
          open.push(statement);
        }
        server.write(bytes);
      }
    };
    const replies = async (): Promise<void> => {
      const held: Buffer[] = [];
      for await (const message of messages(server, typedEnd)) {
        const [statement = null] = open;
        held.push(message);
        if (typeOf(message) === READY) {
          open.shift();
          const failed = held.some((each) => typeOf(each) === 'E');
          if (statement !== null && !failed) await pass(gate(statement, 'after'));
        } else if (statement !== null) continue;
        client.write(Buffer.concat(held.splice(0)));
      }
    };
    return [requests(), replies()];
  };

/** Before a Postgres (no TLS). Its gate sees every statement; a transaction's are BEGIN ... COMMIT in turn. */
export const startPostgresBarrier = (url: string, gate: Gate<Statement>): Promise<Barrier> =>
  startBarrier(url, carry(gate));
