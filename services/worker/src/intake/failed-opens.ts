/**
 * Whether this worker can open runs at all. One that lacks a key, or is older than their journals, would take run
 * after run from those that can. States: fit -> unfit (several different runs in a row) -> fit (it opened one).
 */
export class FailedOpens {
  readonly #onChange: (isUnfit: boolean) => void;
  /** Different ones, so that a single damaged run makes nobody unfit. */
  readonly #runs = new Set<string>();

  constructor(onChange: (isUnfit: boolean) => void) {
    this.#onChange = onChange;
  }

  get isUnfit(): boolean {
    return this.#runs.size >= MOST;
  }

  opened(): void {
    const was = this.isUnfit;
    this.#runs.clear();
    if (was) this.#onChange(false);
  }

  failed(runId: string): void {
    if (this.isUnfit) return;
    this.#runs.add(runId);
    if (this.isUnfit) this.#onChange(true);
  }
}

const MOST = 5;
