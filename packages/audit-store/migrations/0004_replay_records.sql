-- One row per attempt of a step. A model call's input is what was said last before it (submission,
-- answer or tool result); a tool call's is the answer that asked for it.

create view replay_records as
select
  request.run_id,
  (request.data ->> 'step')::int as step_index,
  (request.data ->> 'attempt')::int as attempt,
  request.category as kind,
  (
    select coalesce(said.refs ->> 'output', said.refs ->> 'result', said.refs ->> 'submission')
    from audit_events said
    where said.run_id = request.run_id
      and said.seq < request.seq
      and (
        said.type = 'llm.completed'
        or (request.category = 'llm' and said.type in ('run.submitted', 'tool.completed', 'tool.failed'))
      )
    order by said.seq desc
    limit 1
  ) as input_ref,
  coalesce(finish.refs ->> 'output', finish.refs ->> 'result') as output_ref,
  request.data ->> 'model' as model,
  (request.data -> 'hold' ->> 'amount_nano')::bigint * 0.000000001 as cost_estimate_usd,
  ledger.observed_nano * 0.000000001 as cost_observed_usd,
  request.data -> 'hold' ->> 'price_version' as price_version,
  request.ts as started_at,
  finish.ts as finished_at,
  request.tenant_id,
  request.data ->> 'name' as tool,
  split_part(finish.type, '.', 2) as outcome
from audit_events request
left join audit_events finish
  on finish.run_id = request.run_id
  and finish.type in (request.category || '.completed', request.category || '.failed')
  and finish.data -> 'step' = request.data -> 'step'
  and finish.data -> 'attempt' = request.data -> 'attempt'
left join cost_ledger ledger on ledger.hold_id = request.data -> 'hold' ->> 'id'
where request.type in ('llm.requested', 'tool.requested');
