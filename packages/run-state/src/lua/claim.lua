#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include permits
--- @include queue
--- @include journal
-- Makes the caller the owner of a run and fences everybody before it (R4). The epoch grows here and only here.
-- KEYS[1] partition root
-- ARGV[1] run  [2] wake_seq of the activation, "" when whoever must write takes an ownerless run
-- ARGV[3] lease of the claimer  [4] token of this claim, so that a resend finds its own
-- ARGV[5] milliseconds of a lease opened for this claim only, "0" when the lease is already held
-- returns [OK, record, entries, contents, notes] | [NOT_FOUND | TERMINAL | STALE | LOADING | LEASED | NO_LEASE]
--   LOADING: it hibernates; the scheduler loads it before anybody can have it
--         | [PRESSURE] (back in line until Postgres has caught up, R9)

-- Epochs never go back, not even when the record came back from a loss: each incarnation starts higher.
local function next_epoch(run, known)
  local incarnation = tonumber(redis.call('HGET', key('trust'), 'incarnation') or 0)
  if not known then
    -- It was garbage: whoever wrote last says it too.
    local entry = redis.call('LINDEX', key('run', run, 'events'), -1)
    local readable, last = pcall(cjson.decode, string.sub(entry or '', 65))
    known = readable and type(last) == 'table' and tonumber(last.epoch) or 0
  end
  return int(math.max(known, incarnation * 2 ^ 32) + 1)
end

local run, wake_seq, lease, token, lease_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
local r = record(run, { 'status', 'owner', 'wake_seq', 'claim', 'tenant', 'user', 'rank', 'epoch', 'claims', 'abort',
  'queued_ms', 'asleep', 'seq', 'head' })

if not r.status then return { 'NOT_FOUND' } end
if is_terminal(r.status) then return { 'TERMINAL' } end
if r.asleep then return { 'LOADING' } end

if r.claim ~= token then
  if wake_seq ~= '' and (wake_seq ~= r.wake_seq or r.status == 'waiting') then return { 'STALE' } end
  if lease_is_live(r.owner, now) then return { 'LEASED' } end
  -- A stray or doubled job of a run that was not admitted: it must not lead past the caps. Its turn will come.
  if wake_seq ~= '' and not has_permit(run, r) then return { 'STALE' } end
  if wake_seq ~= '' and not r.abort and pressure(now).level >= 3 then
    if r.status == 'queued' then
      leave_queue(run, r)
      make_room(run, r)
      enqueue(run, r.tenant, r.rank, tonumber(r.queued_ms) or now)
    end
    return { 'PRESSURE' }
  end
  if lease_ms > 0 then
    redis.call('ZADD', key('leases'), int(now + lease_ms), lease)
  elseif not lease_is_live(lease, now) then
    return { 'NO_LEASE' }
  end
  if r.owner then leave_lease(run, r.owner) end
  leave_queue(run, r)
  if r.status == 'waiting' then leave_waiting(run) end
  make_busy(run, r, '+inf')
  redis.call('ZADD', key('running'), int(now), run)
  redis.call('SADD', key('lease', lease), run)
  if r.abort then redis.call('SADD', key('lease', lease, 'aborts'), run) end
  redis.call('HSET', key('run', run),
    'status', 'running', 'owner', lease, 'claim', token,
    'epoch', next_epoch(run, whole(r.epoch)), 'claims', int((whole(r.claims) or 0) + 1))
  redis.call('HDEL', key('run', run), 'reason', 'admitted_ms')
end

-- A record that says of the journal another end than it has would refuse whatever its owner writes. It is made what the
-- journal says, unless that lost its end: nothing may be written behind what is left (R5).
local entries = redis.call('LRANGE', key('run', run, 'events'), 0, -1)
local head = string.sub(entries[#entries] or '', 1, 64)
if r.seq ~= int(#entries) or r.head ~= head then
  if r.head == head or (whole(r.seq) or 0) <= #entries then
    redis.call('HSET', key('run', run), 'seq', #entries, 'head', head)
  end
end
wake_seq_of(run, r)

return {
  'OK',
  redis.call('HGETALL', key('run', run)),
  entries,
  redis.call('HGETALL', key('run', run, 'contents')),
  notes_of(run),
}
