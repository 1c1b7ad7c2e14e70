import { isAdminChain, TERMINAL_EVENTS } from '@signalbox/contracts';
import { EMPTY_HEAD, type Head, linkBreak } from './chain.ts';

/** An event as it is stored or exported. `body` null: it lies in quarantine, only its seq and hash are known. */
export interface ChainLink {
  readonly seq: number;
  readonly hash: string;
  readonly body: string | null;
}

/** Of a body that is an event. */
interface Peek {
  readonly type: string;
  /** Of an administration event. */
  readonly tenant_id?: string;
  readonly data: { readonly tenant_id?: string };
}

/** Whose it says to be; null: it does not say. */
const tenantOf = ({ type, tenant_id, data }: Peek): string | null =>
  (type === 'run.submitted' ? data.tenant_id : tenant_id) ?? null;

/**
 * Walks one chain in its order and keeps nothing but its end. States: whole -> broken (final): behind the first bad
 * event nothing is told. A quarantined event is taken by its hash, which the next event's `prev` confirms (R5).
 */
export class ChainWalk {
  readonly runId: string;
  readonly #tenantId: string;
  #head: Head = EMPTY_HEAD;
  #ended = false;

  constructor(runId: string, tenantId: string) {
    this.runId = runId;
    this.#tenantId = tenantId;
  }

  get head(): Head {
    return this.#head;
  }

  /** Of a run: its last event was there. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * The seq and what is wrong with it; null when the link fits. `signed`: the hash a checkpoint holds for this seq,
   * if one does.
   */
  step(link: ChainLink, signed: string | null): { readonly seq: number; readonly why: string } | null {
    const seq = this.#head.seq + 1;
    if (link.seq !== seq) return { seq, why: `the event is missing; the next one there is ${link.seq}` };
    if (this.#ended) return { seq, why: 'an event behind the end of the run' };
    if (link.body !== null) {
      const why = linkBreak(this.runId, this.#head, link.hash + link.body);
      if (why !== null) return { seq, why };
      const event = JSON.parse(link.body) as Peek;
      if ((tenantOf(event) ?? this.#tenantId) !== this.#tenantId)
        return { seq, why: 'the event is of another tenant' };
      this.#ended = !isAdminChain(this.runId) && TERMINAL_EVENTS.has(event.type);
    }
    if (signed !== null && signed !== link.hash)
      return { seq, why: 'a checkpoint holds another hash for it' };
    this.#head = { seq, hash: link.hash };
    return null;
  }

  /** What is wrong with the end, when a checkpoint, or another witness, says that the chain went on up to `last`. */
  cut(last: number, witness = 'a checkpoint holds'): { readonly seq: number; readonly why: string } | null {
    const seq = this.#head.seq + 1;
    if (last < seq) return null;
    const what = seq === 1 ? 'the whole chain is missing' : 'the chain was cut';
    return { seq, why: `${what}; ${witness} ${last} events` };
  }
}
