/**
 * Checks an export of the audit log against checkpoints, with nothing but the two and the public key: no store, no
 * service, no network. Lines come as a stream; what is kept is one entry per checkpointed head.
 */
import { ChainWalk } from './chain-walk.ts';
import { type CheckpointEvidence, SignedChains } from './signed-chains.ts';

export interface FirstBad {
  readonly run_id: string;
  readonly seq: number;
  readonly why: string;
}

export interface ExportVerdict {
  readonly ok: boolean;
  /** Events. */
  readonly checked: number;
  readonly quarantined: number;
  /** Checkpoints that the export was held against: those that stood when it began. */
  readonly checkpoints: number;
  /** Checkpoints that came while it was made or after it: what they alone hold, this export cannot show. */
  readonly later_checkpoints: number;
  /** When the last one was signed that it was held against: what came later is proven by no signature. */
  readonly signed_until: string | null;
  readonly first_bad: FirstBad | null;
}

export interface ExportEvidence extends CheckpointEvidence {
  readonly exported: AsyncIterable<string> | Iterable<string>;
  /** The only chain that was exported. Null: all of them. */
  readonly runId: string | null;
}

/** `run_id` under which a bad checkpoint is named; `seq` is its number. */
export const CHECKPOINTS = 'checkpoints';

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
};

interface ExportLine {
  readonly run_id: string;
  readonly seq: number;
  readonly hash: string;
  readonly body: string | null;
}

const isExportLine = (line: unknown): line is ExportLine =>
  typeof line === 'object' &&
  line !== null &&
  'run_id' in line &&
  typeof line.run_id === 'string' &&
  'seq' in line &&
  typeof line.seq === 'number' &&
  'hash' in line &&
  typeof line.hash === 'string' &&
  'body' in line &&
  (line.body === null || typeof line.body === 'string');

/** The checkpoint that stood when the export began; in exports made before it was written down, the last there is. */
const standingAt = (line: object): number | null => {
  if (!('checkpoint' in line)) return Number.POSITIVE_INFINITY;
  const n = line.checkpoint;
  return typeof n === 'number' && Number.isSafeInteger(n) && n >= 0 ? n : null;
};

class ExportReader {
  readonly #signed: SignedChains;
  /** Where each chain ended that was read to its end. */
  readonly #ends = new Map<string, ChainWalk>();
  #walk: ChainWalk | null = null;
  checked = 0;
  quarantined = 0;
  /** Checkpoints that stood when the export began. Null: it has not said so yet. */
  standing: number | null = null;

  constructor(signed: SignedChains) {
    this.#signed = signed;
  }

  line(text: string): FirstBad | null {
    const line = parse(text);
    if (this.standing !== null) return this.#bad('a line behind the last line of the export');
    if (typeof line === 'object' && line !== null && 'end' in line) {
      this.standing = 'lines' in line && line.lines === this.checked ? standingAt(line) : null;
      return this.standing === null ? this.#bad('the export does not have as many lines as it says') : null;
    }
    if (!isExportLine(line)) return this.#bad('a line of the export cannot be read');
    return (this.#walk?.runId === line.run_id ? null : this.#begin(line.run_id)) ?? this.#step(line);
  }

  /** What is missing at the end: first of the chains that are there, then of those that are not. */
  end(runId: string | null): FirstBad | null {
    const { standing } = this;
    if (standing === null) return this.#bad('the export was cut off: it has no last line');
    const expected = runId === null ? this.#signed.runIds.toSorted() : [runId];
    for (const id of new Set([...this.#ends.keys(), ...expected])) {
      const walk = this.#ends.get(id) ?? new ChainWalk(id);
      const cut = walk.cut(Math.max(this.#signed.lastOf(id, standing), id === runId ? 1 : 0));
      if (cut !== null) return { run_id: id, ...cut };
    }
    return null;
  }

  #begin(runId: string): FirstBad | null {
    if (this.#ends.has(runId)) return { run_id: runId, seq: 1, why: 'the chain begins twice' };
    this.#walk = new ChainWalk(runId);
    this.#ends.set(runId, this.#walk);
    return null;
  }

  #step(line: ExportLine): FirstBad | null {
    const walk = this.#walk;
    if (walk === null) return null;
    this.checked += 1;
    if (line.body === null) this.quarantined += 1;
    const bad = walk.step(line, this.#signed.hashOf(line.run_id, line.seq));
    return bad === null ? null : { run_id: line.run_id, ...bad };
  }

  #bad(why: string): FirstBad {
    return { run_id: this.#walk?.runId ?? '', seq: (this.#walk?.head.seq ?? 0) + 1, why };
  }
}

export const verifyExport = async (evidence: ExportEvidence): Promise<ExportVerdict> => {
  const signed = new SignedChains();
  const fault = await signed.read(evidence);
  const reader = new ExportReader(signed);
  const verdict = (bad: FirstBad | null): ExportVerdict => {
    const checkpoints = Math.min(signed.count, reader.standing ?? signed.count);
    return {
      ok: bad === null,
      checked: reader.checked,
      quarantined: reader.quarantined,
      checkpoints,
      later_checkpoints: signed.count - checkpoints,
      signed_until: signed.signedAt(checkpoints),
      first_bad: bad,
    };
  };
  if (fault !== null) return verdict({ run_id: CHECKPOINTS, seq: signed.count + 1, why: fault });
  for await (const text of evidence.exported) {
    if (text === '') continue;
    const bad = reader.line(text);
    if (bad !== null) return verdict(bad);
  }
  return verdict(reader.end(evidence.runId));
};
