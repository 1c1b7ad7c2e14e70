/**
 * Checks an export of the audit log against checkpoints, with nothing but the two and the public key: no store, no
 * service, no network. Lines come as a stream; what is kept is one entry per checkpointed head.
 */
import { ChainWalk } from './chain-walk.ts';
import { type MissingChains, sortMissing } from './missing-chains.ts';
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
  /** Checkpoints that stood when the export began and are not given: the file was cut, or copied before it had them. */
  readonly absent_checkpoints: number;
  /** When the last one was signed that it was held against: what came later is proven by no signature. */
  readonly signed_until: string | null;
  /** Chains that these checkpoints hold and that are not there at all. Null: it did not come to that. */
  readonly missing: MissingChains | null;
  /** Those that left with their month, as `departedBefore` says; not among the missing. */
  readonly departed: number;
  readonly first_bad: FirstBad | null;
}

export interface ExportEvidence extends CheckpointEvidence {
  readonly exported: AsyncIterable<string> | Iterable<string>;
  /** The only chain that was exported. Null: all of them. */
  readonly runId: string | null;
  /** Months before this one have left by retention. Null: none has. */
  readonly departedBefore: Date | null;
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
  readonly #tenantId: string;
  /** Where each chain ended that was read to its end. */
  readonly #ends = new Map<string, ChainWalk>();
  #walk: ChainWalk | null = null;
  checked = 0;
  quarantined = 0;
  /** Checkpoints that stood when the export began. Null: it has not said so yet. */
  standing: number | null = null;

  constructor(signed: SignedChains, tenantId: string) {
    this.#signed = signed;
    this.#tenantId = tenantId;
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

  /** What is missing at the end of the chains that are there. */
  end(): FirstBad | null {
    const { standing } = this;
    if (standing === null) return this.#bad('the export was cut off: it has no last line');
    for (const [id, walk] of this.#ends) {
      const cut = walk.cut(this.#signed.lastOf(id, standing));
      if (cut !== null) return { run_id: id, ...cut };
    }
    return null;
  }

  get present(): ReadonlyMap<string, unknown> {
    return this.#ends;
  }

  /** A chain that is not there: how long it should be. */
  expected(runId: string): number {
    return this.#signed.lastOf(runId, this.standing ?? 0);
  }

  #begin(runId: string): FirstBad | null {
    if (this.#ends.has(runId)) return { run_id: runId, seq: 1, why: 'the chain begins twice' };
    this.#walk = new ChainWalk(runId, this.#tenantId);
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

type Ending = Pick<ExportVerdict, 'missing' | 'departed' | 'first_bad'>;

const badAt = (first_bad: FirstBad): Ending => ({ missing: null, departed: 0, first_bad });

/** When all lines were read: what should be there and is not. */
const endingOf = (
  reader: ExportReader,
  signed: SignedChains,
  { runId, tenantId, departedBefore }: ExportEvidence,
): Ending => {
  const cut = reader.end();
  if (reader.standing === null && cut !== null) return badAt(cut);
  const absent = (runId === null ? signed.runIds : [runId]).filter(
    (id) => !reader.present.has(id) && (id === runId || reader.expected(id) > 0),
  );
  const { departed, missing } = sortMissing(absent, reader.present.keys(), departedBefore);
  const [first] = missing.run_ids;
  if (cut !== null || first === undefined) return { missing, departed, first_bad: cut };
  const whole = new ChainWalk(first, tenantId).cut(Math.max(reader.expected(first), 1));
  return { missing, departed, first_bad: whole === null ? null : { run_id: first, ...whole } };
};

export const verifyExport = async (evidence: ExportEvidence): Promise<ExportVerdict> => {
  const signed = new SignedChains();
  const fault = await signed.read(evidence);
  const reader = new ExportReader(signed, evidence.tenantId);
  const verdict = (ending: Ending): ExportVerdict => {
    const standing = reader.standing ?? signed.count;
    const checkpoints = Math.min(signed.count, standing);
    return {
      ok: ending.first_bad === null,
      checked: reader.checked,
      quarantined: reader.quarantined,
      checkpoints,
      later_checkpoints: signed.count - checkpoints,
      absent_checkpoints: Number.isFinite(standing) ? standing - checkpoints : 0,
      signed_until: signed.signedAt(checkpoints),
      ...ending,
    };
  };
  if (fault !== null) return verdict(badAt({ run_id: CHECKPOINTS, seq: signed.count + 1, why: fault }));
  for await (const text of evidence.exported) {
    if (text === '') continue;
    const bad = reader.line(text);
    if (bad !== null) return verdict(badAt(bad));
  }
  return verdict(endingOf(reader, signed, evidence));
};
