--- @include base
--- @include queue
--- @include journal
-- Makes the caller the owner of a run and fences everybody before it (R4). The epoch grows here and only here.
-- KEYS[1] partition root
-- ARGV[1] run  [2] wake_seq of the activation, "" when whoever must write takes an ownerless run
-- ARGV[3] lease of the claimer  [4] token of this claim, so that a resend finds its own
-- ARGV[5] milliseconds of a lease opened for this claim only, "0" when the lease is already held
-- returns [OK, record, entries, contents, notes] | [NOT_FOUND | TERMINAL | STALE | LEASED | NO_LEASE]
local run, wake_seq, lease, token, lease_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
local r = record(run, { 'status', 'owner', 'wake_seq', 'claim', 'tenant', 'user', 'rank', 'epoch' })

if not r.status then return { 'NOT_FOUND' } end
if is_terminal(r.status) then return { 'TERMINAL' } end

if r.claim ~= token then
  if wake_seq ~= '' and (wake_seq ~= r.wake_seq or r.status == 'waiting') then return { 'STALE' } end
  if lease_is_live(r.owner, now) then return { 'LEASED' } end
  if lease_ms > 0 then
    redis.call('ZADD', key('leases'), int(now + lease_ms), lease)
  elseif not lease_is_live(lease, now) then
    return { 'NO_LEASE' }
  end
  if r.owner then redis.call('SREM', key('lease', r.owner), run) end
  leave_queue(run, r)
  leave_waiting(run)
  make_busy(run, r, '+inf')
  redis.call('ZADD', key('running'), int(now), run)
  redis.call('SADD', key('lease', lease), run)
  redis.call('HSET', key('run', run), 'status', 'running', 'owner', lease, 'claim', token)
  redis.call('HDEL', key('run', run), 'reason')
  -- Epochs never go back, not even when the record came back from a loss: each incarnation starts higher.
  local incarnation = tonumber(redis.call('HGET', key('trust'), 'incarnation') or 0)
  redis.call('HSET', key('run', run), 'epoch', int(math.max(tonumber(r.epoch), incarnation * 2 ^ 32) + 1))
  redis.call('HINCRBY', key('run', run), 'claims', 1)
end

return {
  'OK',
  redis.call('HGETALL', key('run', run)),
  redis.call('LRANGE', key('run', run, 'events'), 0, -1),
  redis.call('HGETALL', key('run', run, 'contents')),
  notes_of(run),
}
