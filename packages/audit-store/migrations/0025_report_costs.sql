-- A report reads the sums of the days, and of the ledger only the calls that those do not tell all of: what is held, what
-- no provider confirmed, and what ended without an answer. Few, but on as many pages, so the index holds what is asked.
-- The index of held calls alone was asked by nobody.
drop index cost_ledger_held;
create index cost_ledger_apart on cost_ledger (tenant_id, day)
  include (user_id, agent, model, held_nano, observed_nano, state, estimated) where estimated or not completed;
