-- Hibernation (Read): of a run that is parked for long, Redis keeps what a wake, an abort, admission and a
-- verification need; its journal and contents lie in Postgres. Included last.
-- States: parked -> asleep -> loading (woken or aborted; its notes wait in the inbox) -> queued.
-- The record of such a run: status "waiting", `asleep`; `session` and `created` of its first event, so that an
-- abort by filter finds it; no `key`. Short values keep it one listpack, some hundred bytes.

-- What the journal says, or what only an owner needs. The counters of the run scope stay: children use them.
local NOT_KEPT = { key = true, head = true, claims = true, stored_seq = true, queued_ms = true, created_ms = true }

local function has_open_hold(run)
  for _, hold in ipairs(redis.call('HVALS', key('run', run, 'holds'))) do
    if string.sub(hold, 1, 5) == 'held ' then return true end
  end
  return false
end

-- Whether it sleeps now. Not with an open hold: a verification sums those from what is here.
local function fall_asleep(run)
  local since = redis.call('ZSCORE', key('parked'), run)
  local entry = redis.call('LINDEX', key('run', run, 'events'), 0)
  if not since or not entry or has_open_hold(run) then return false end
  local readable, first = pcall(cjson.decode, string.sub(entry, 65))
  -- A damaged one stays awake, and keeps no other from sleeping.
  if not readable or type(first) ~= 'table' or type(first.data) ~= 'table' or not first.ts then return false end
  local kept = { 'asleep', '1', 'created', first.ts }
  if first.data.session_id ~= cjson.null then append(kept, { 'session', first.data.session_id }) end
  local fields = redis.call('HGETALL', key('run', run))
  for i = 1, #fields, 2 do
    if not NOT_KEPT[fields[i]] then append(kept, { fields[i], fields[i + 1] }) end
  end
  -- Made anew, since Redis never turns a large hash back into a small one.
  redis.call('DEL', key('run', run))
  redis.call('HSET', key('run', run), unpack(kept))
  redis.call('UNLINK', key('run', run, 'events'), key('run', run, 'contents'), key('run', run, 'holds'))
  redis.call('ZREM', key('parked'), run)
  redis.call('ZADD', key('asleep'), since, run)
  return true
end
