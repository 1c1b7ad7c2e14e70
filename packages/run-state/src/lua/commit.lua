--- @include base
--- @include queue
--- @include money
--- @include journal
-- The one write of a run's owner: the results of its last action with their settlements (R2), and the
-- announcement of its next one with its hold (R1, R3). Results are written even when the run was aborted
-- or the hold does not fit: that money is gone. The announcement is written only if it may happen.
-- KEYS[1] partition root
-- ARGV[1] header (JSON):
--   run, lease, epoch            who writes
--   seq, head                    where the writer believes the journal ends
--   results, announce            number of entries of each group
--   result_contents              number of ARGVs that are contents of the results
--   settlements [{hold, observed, expired?}], notes (inbox notes the results consumed), progress (bool)
--   hold? {id, amount, day}
--   after: "go" | "park" | "hand_over" | "finish"
--   park? {reason, wake_seq, due_ms?, scope? (name), need?, day?}
--   status? (finish), failed? (hand_over: the activation broke, so its claim counts as one without progress)
-- ARGV[2..] entries of both groups, then [ref, sealed]... of the results, then of the announcement
-- returns [code, seq, head, activations, notes, denial, wake_seq]
--   OK        all is written
--   ABORTED   results written; the announcement is refused because an abort was asked for (R7)
--   WOKEN     results written; the park is refused because something happened meanwhile
--   DENIED | CAP_MISSING  results written; no room in a scope, denial = [name, cap, spent, held]...
--   FENCED | TERMINAL | CONFLICT | NOT_FOUND  nothing written
local h = cjson.decode(ARGV[1])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
local run = h.run
local r = record(run, { 'status', 'owner', 'epoch', 'seq', 'head', 'abort', 'wake_seq', 'tenant', 'user', 'agent', 'root', 'rank' })

local function reply(code, denied)
  local at = redis.call('HMGET', key('run', run), 'seq', 'head', 'wake_seq')
  return { code, at[1], at[2] or '', admit(now), notes_of(run), denied or {}, at[3] }
end

if not r.status then return { 'NOT_FOUND', '0', '', {}, {}, {}, '0' } end

-- After a lost reply the same commit comes again: events up to the stored head are recognised and skipped.
local total = h.results + h.announce
local known = tonumber(r.seq) - h.seq
if known > 0 and (known > total or string.sub(ARGV[1 + known], 1, 64) ~= r.head) then known = -1 end
if known == total and total > 0 then return reply(h.announce == 0 and r.abort and 'ABORTED' or 'OK') end

if is_terminal(r.status) then return reply('TERMINAL') end
if r.owner ~= h.lease or tonumber(r.epoch) ~= h.epoch or not lease_is_live(h.lease, now) then
  redis.call('HINCRBY', key('stats'), 'fenced_writes', 1)
  return reply('FENCED')
end
if known < 0 or (known > 0 and known ~= h.results) or (known == 0 and r.head ~= h.head) then return reply('CONFLICT') end

local function slice(from, count)
  local out = {}
  for i = from, from + count - 1 do
    out[#out + 1] = ARGV[i]
  end
  return out
end
local first_content = 2 + total

-- results
if known == 0 and h.results > 0 then
  local seq = write(run, r, slice(2, h.results), slice(first_content, h.result_contents))
  for _, settlement in ipairs(h.settlements) do
    settle(run, r, settlement, now)
  end
  if h.notes > 0 then redis.call('LTRIM', key('run', run, 'inbox'), h.notes, -1) end
  if h.progress then redis.call('HSET', key('run', run), 'claims', 0) end
  publish_head(run, seq)
end
if h.announce == 0 then return reply(r.abort and 'ABORTED' or 'OK') end

-- may the announcement happen?
local aborting = h.after == 'finish' and h.status == 'aborted'
if r.abort and not aborting then return reply('ABORTED') end
if h.after == 'park' and tonumber(r.wake_seq) ~= h.park.wake_seq then return reply('WOKEN') end
if h.hold then
  local scopes = scopes_of(run, r, h.hold.day)
  local denied = denial(scopes, h.hold.amount)
  if denied then return reply(table.remove(denied, 1), denied) end
  take_hold(run, scopes, h.hold)
end

-- announcement
local from = first_content + h.result_contents
local seq = write(run, r, slice(2 + h.results, h.announce), slice(from, #ARGV - from + 1))
local record_key = key('run', run)
if h.after == 'finish' then
  release(run, r, r.owner)
  redis.call('HSET', record_key, 'status', h.status, 'ended_ms', int(now))
  redis.call('DEL', key('run', run, 'inbox'))
elseif h.after == 'hand_over' then
  release(run, r, r.owner)
  redis.call('HINCRBY', record_key, 'wake_seq', 1)
  if not h.failed then redis.call('HSET', record_key, 'claims', 0) end
  enqueue(run, r.tenant, r.rank, now)
elseif h.after == 'park' then
  release(run, r, r.owner)
  redis.call('HSET', record_key, 'status', 'waiting', 'reason', h.park.reason, 'claims', 0)
  redis.call('ZADD', key('parked'), int(now), run)
  if h.park.due_ms then redis.call('ZADD', key('timers'), int(h.park.due_ms), run) end
  if h.park.scope then wait_for_room(run, r, h.park, now) end
end
publish_head(run, seq)
return reply('OK')
