/**
 * An event as it is stored and moved: 64 hex digits of its hash, then the exact JSON text that was
 * hashed. The text is never re-serialised, so a hash can be checked wherever the entry lies (R5).
 */
export type Entry = string;

/** A sealed content beside its name: `sha256:<hex of the ciphertext>` and the ciphertext in base64. */
export type SealedContent = readonly [ref: string, sealed: string];

/** One commit, or one administration event, on its way from the audit stream to Postgres. */
export interface AuditRecord {
  readonly streamId: string;
  readonly runId: string;
  readonly tenantId: string;
  readonly userId: string | null;
  readonly agent: string | null;
  readonly rootRunId: string;
  /** The run's data key wrapped by the keyring; only the first commit of a run carries it. */
  readonly wrappedKey: string | null;
  readonly entries: readonly Entry[];
  readonly contents: readonly SealedContent[];
  /**
   * An administration event as JSON, whose seq in the chain `runId` is given when it is stored. Then there are no
   * entries and no contents.
   */
  readonly adminDraft?: string;
}

/** Everything stored of one run: enough to fold it, show it and open its contents. */
export interface StoredRun {
  readonly runId: string;
  readonly tenantId: string;
  readonly wrappedKey: string | null;
  /** Since when its key and contents are destroyed. */
  readonly contentErasedAt: string | null;
  readonly entries: readonly Entry[];
  readonly contents: ReadonlyMap<string, string>;
}

/** Which contents to read with a run, by its entries in order. */
export type ContentChoice = (entries: readonly Entry[]) => readonly string[];
