-- A verification of run state asks what each tree and each day has spent. It must not read every call there ever was.

-- A call of a run that is its own root is found by its run; only those of other runs of a tree need more.
create index cost_ledger_tree on cost_ledger (root_run_id) where root_run_id <> run_id;

-- Once for a tenant, user, agent and model a day: what is added to the sums of a day leaves it alone.
create index daily_costs_day on daily_costs (day);
