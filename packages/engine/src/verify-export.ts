/**
 * Checks an export of the audit log against checkpoints, with nothing but the two and the public key: no store, no
 * service, no network. Lines come as a stream; what is kept is one entry per checkpointed head.
 */
import { type CheckpointLeaf, CheckpointLine } from '@signalbox/contracts';
import { ChainWalk } from './chain-walk.ts';
import { checkpointBreak, checkpointFault, type CheckpointHead, NO_CHECKPOINT } from './checkpoint.ts';

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
  readonly checkpoints: number;
  /** When the last checkpoint was signed: what came later is proven by no signature. */
  readonly signed_until: string | null;
  readonly first_bad: FirstBad | null;
}

type Lines = AsyncIterable<string> | Iterable<string>;

export interface ExportEvidence {
  readonly exported: Lines;
  readonly checkpoints: Lines;
  /** Of the keys that may sign, by id. */
  readonly publicKeys: ReadonlyMap<string, string>;
  readonly tenantId: string;
  /** The only chain that was exported. Null: all of them. */
  readonly runId: string | null;
}

/** `run_id` under which a bad checkpoint is named; `seq` is its number. */
export const CHECKPOINTS = 'checkpoints';

/** What checkpoints hold of one chain: hashes by seq, and the highest seq. */
interface SignedChain {
  readonly hashes: Map<number, string>;
  last: number;
}

interface Signed {
  readonly heads: Map<string, SignedChain>;
  readonly count: number;
  readonly until: string | null;
  readonly bad: FirstBad | null;
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
};

const addLeaf = (heads: Signed['heads'], { run_id, seq, hash }: CheckpointLeaf): void => {
  const chain = heads.get(run_id) ?? { hashes: new Map<number, string>(), last: 0 };
  chain.hashes.set(seq, hash);
  chain.last = Math.max(chain.last, seq);
  heads.set(run_id, chain);
};

/**
 * Each checkpoint once, in its order. A line may come twice, word for word, and one that was torn by a crash comes
 * again whole: a line that nobody can read counts as not there.
 */
const readCheckpoints = async ({ checkpoints, publicKeys, tenantId }: ExportEvidence): Promise<Signed> => {
  const heads: Signed['heads'] = new Map();
  let head: CheckpointHead = NO_CHECKPOINT;
  let until: string | null = null;
  const bad = (seq: number, why: string): Signed => ({
    heads,
    count: head.n,
    until,
    bad: { run_id: CHECKPOINTS, seq, why },
  });
  const hashes = [head.hash];
  for await (const text of checkpoints) {
    const { data: line } = CheckpointLine.safeParse(parse(text));
    if (line === undefined || line.tenant_id !== tenantId) continue;
    if (line.n <= head.n && hashes[line.n] === line.hash) continue;
    const why = checkpointBreak(head, line) ?? checkpointFault(line, { leaves: line.leaves, publicKeys });
    if (why !== null) return bad(head.n + 1, why);
    for (const leaf of line.leaves) addLeaf(heads, leaf);
    head = { n: line.n, hash: line.hash };
    hashes.push(line.hash);
    until = line.ts;
  }
  return { heads, count: head.n, until, bad: null };
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

class ExportReader {
  readonly #heads: Signed['heads'];
  readonly #seen = new Set<string>();
  #walk: ChainWalk | null = null;
  checked = 0;
  quarantined = 0;
  #ended = false;

  constructor(heads: Signed['heads']) {
    this.#heads = heads;
  }

  line(text: string): FirstBad | null {
    const line = parse(text);
    if (typeof line === 'object' && line !== null && 'end' in line) {
      this.#ended = 'lines' in line && line.lines === this.checked;
      return this.#ended ? null : this.#bad('the export does not have as many lines as it says');
    }
    if (!isExportLine(line)) return this.#bad('a line of the export cannot be read');
    return (this.#walk?.runId === line.run_id ? null : this.#begin(line.run_id)) ?? this.#step(line);
  }

  /** What is missing at the end. */
  end(runId: string | null): FirstBad | null {
    const bad = this.#close();
    if (bad !== null) return bad;
    if (!this.#ended) return this.#bad('the export was cut off: it has no last line');
    const expected = runId === null ? [...this.#heads.keys()].toSorted() : [runId];
    const missing = expected.find((id) => !this.#seen.has(id));
    if (missing === undefined) return null;
    const cut = new ChainWalk(missing).cut(this.#heads.get(missing)?.last ?? 1);
    return cut === null ? null : { run_id: missing, ...cut };
  }

  #begin(runId: string): FirstBad | null {
    const bad = this.#close();
    if (bad !== null) return bad;
    if (this.#seen.has(runId)) return { run_id: runId, seq: 1, why: 'the chain begins twice' };
    this.#seen.add(runId);
    this.#walk = new ChainWalk(runId);
    return null;
  }

  #step(line: ExportLine): FirstBad | null {
    const walk = this.#walk;
    if (walk === null) return null;
    this.checked += 1;
    if (line.body === null) this.quarantined += 1;
    const bad = walk.step(line, this.#heads.get(line.run_id)?.hashes.get(line.seq) ?? null);
    return bad === null ? null : { run_id: line.run_id, ...bad };
  }

  #close(): FirstBad | null {
    const walk = this.#walk;
    if (walk === null) return null;
    const cut = walk.cut(this.#heads.get(walk.runId)?.last ?? 0);
    return cut === null ? null : { run_id: walk.runId, ...cut };
  }

  #bad(why: string): FirstBad {
    return { run_id: this.#walk?.runId ?? '', seq: (this.#walk?.head.seq ?? 0) + 1, why };
  }
}

export const verifyExport = async (evidence: ExportEvidence): Promise<ExportVerdict> => {
  const signed = await readCheckpoints(evidence);
  const reader = new ExportReader(signed.heads);
  const verdict = (bad: FirstBad | null): ExportVerdict => ({
    ok: bad === null,
    checked: reader.checked,
    quarantined: reader.quarantined,
    checkpoints: signed.count,
    signed_until: signed.until,
    first_bad: bad,
  });
  if (signed.bad !== null) return verdict(signed.bad);
  for await (const text of evidence.exported) {
    if (text === '') continue;
    const bad = reader.line(text);
    if (bad !== null) return verdict(bad);
  }
  return verdict(reader.end(evidence.runId));
};
