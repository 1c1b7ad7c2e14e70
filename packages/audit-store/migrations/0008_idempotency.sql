-- Which request made a run (HMACs), so that a loss of Redis does not forget it: a verification of run state writes
-- the records of the last day again.

alter table runs
  add column idempotency_key_digest text,
  add column idempotency_fingerprint text;

-- Run ids are in the order of time.
create index runs_idempotency on runs (id) where idempotency_key_digest is not null;
