#!lua flags=allow-oom
--- @include base
-- Sets counters as a verification found them. Nobody else writes meanwhile (Trust).
-- KEYS[1] partition root
-- ARGV[1] token of the verification  [2..] scope (key behind the root), spent, held, ...
--         spent: what the ledger says at least; what is here stays if it is more
-- returns "OK" | "OVERTAKEN" (nothing was done)
if not is_verifying(ARGV[1]) then return 'OVERTAKEN' end
for i = 2, #ARGV, 3 do
  local scope, is_run = key(ARGV[i]), string.sub(ARGV[i], 1, 4) == 'run:'
  -- A root that is not here (its children may be) must not get half a record.
  if not is_run or redis.call('HEXISTS', scope, 'status') == 1 then
    local spent = math.max(tonumber(redis.call('HGET', scope, 'spent') or 0), tonumber(ARGV[i + 1]))
    redis.call('HSET', scope, 'spent', int(spent), 'held', ARGV[i + 2])
    if not is_run then
      expire_spend(scope)
      forget_unused(scope)
    end
  end
end
return 'OK'
