#!lua flags=allow-oom
--- @include base
--- @include pressure
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
--   park? {reason, wake_seq, due_ms?, scope? (name), need?, day?, pressure? (bool)}
--   status? (finish), failed? (hand_over: the activation broke, so its claim counts as one without progress)
--   unopened? (hand_over: the worker could not open what the run goes on with; it is noted, and its claim does not count)
-- ARGV[2..] entries of both groups, then [ref, sealed]... of the results, then of the announcement
-- returns [code, seq, head, activations, notes, denial, wake_seq]
--   OK        all is written
--   ABORTED   results written; the announcement is refused because an abort was asked for (R7)
--   WOKEN     results written; the park is refused because something happened meanwhile
--   PRESSURE  results written; no call may be announced until Postgres has caught up (R9)
--   DENIED | CAP_MISSING  results written; no room in a scope, denial = [name, cap, spent, held]...
--   FENCED | TERMINAL | CONFLICT | NOT_FOUND  nothing written
local h = cjson.decode(ARGV[1])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
local run = h.run
local r = record(run, { 'status', 'owner', 'epoch', 'seq', 'head', 'abort', 'wake_seq', 'claims', 'tenant', 'user',
  'agent', 'root', 'rank', 'created_ms', 'promised_by', 'waits_since', 'unopened' })

-- A script makes all its functions anew in each call. Most commits need none of admission and of those that wait,
-- which would cost them more than all their reads, so these are made when asked for.
local made = nil
local function others()
  if made then return made end
--- @include permits
--- @include queue
--- @include admission
--- @include waiters
  made = {
    release = release,
    enqueue = enqueue,
    forget_promise = forget_promise,
    wait_for_room = wait_for_room,
    wake_all_waiters = wake_all_waiters,
    admit = function() return stirred and admit(now) or {} end,
  }
  return made
end

local function reply(code, denied)
  local activations = made and made.admit() or {}
  return { code, r.seq, r.head or '', activations, notes_of(run), denied or {}, r.wake_seq }
end

if not r.status then return { 'NOT_FOUND', '0', '', {}, {}, {}, '0' } end
-- Garbage is nowhere: the next claim makes it what the journal says.
r.seq, r.wake_seq = whole(r.seq) or 0, whole(r.wake_seq) or 0

-- After a lost reply the same commit comes again: events up to the stored head are recognised and skipped.
local total = h.results + h.announce
local known = r.seq - h.seq
if known > 0 and (known > total or string.sub(ARGV[1 + known], 1, 64) ~= r.head) then known = -1 end
if known == total and total > 0 then return reply(h.announce == 0 and r.abort and 'ABORTED' or 'OK') end

if is_terminal(r.status) then return reply('TERMINAL') end
if r.owner ~= h.lease or tonumber(r.epoch) ~= h.epoch or not lease_is_live(h.lease, now) then
  return reply('FENCED')
end
if known < 0 or (known > 0 and known ~= h.results) or (known == 0 and r.head ~= h.head) then return reply('CONFLICT') end

-- What is answered in place of an announcement (and which scopes deny it), or nil: it is written, and its hold is taken.
local function refusal()
  -- The journal has the end already; see claim.ts.
  if h.announce == 0 and h.after == 'finish' then return nil end
  if h.announce == 0 then return r.abort and 'ABORTED' or 'OK' end
  local aborting = h.after == 'finish' and h.status == 'aborted'
  if r.abort and not aborting then return 'ABORTED' end
  if h.after == 'park' and r.wake_seq ~= h.park.wake_seq then return 'WOKEN' end
  if h.after == 'go' and not may_act(now) then return 'PRESSURE' end
  if not h.hold then return nil end
  local scopes = scopes_of(r, h.hold.day)
  local denied = denial(scopes, h.hold.amount)
  if denied then return table.remove(denied, 1), denied end
  take_hold(run, r, scopes, h.hold)
  if r.promised_by then others().forget_promise(run) end
end

-- "since lease...": when the first of them failed, and up to three different ones.
local function note_unopened()
  local noted = r.unopened or int(now)
  local _, workers = string.gsub(noted, ' ', '')
  if workers < 3 and not string.find(noted, ' ' .. h.lease, 1, true) then noted = noted .. ' ' .. h.lease end
  redis.call('HSET', key('run', run), 'unopened', noted)
  redis.call('HINCRBY', key('run', run), 'claims', -1)
end

local function slice(from, to)
  local out = {}
  for i = from, to do
    out[#out + 1] = ARGV[i]
  end
  return out
end

if known == 0 and h.results > 0 then
  for _, settlement in ipairs(h.settlements) do
    local scopes = settle(run, r, settlement)
    if #scopes > 0 then
      write_money()
      others().wake_all_waiters(scopes, now)
    end
  end
  if h.notes > 0 then redis.call('LTRIM', key('run', run, 'inbox'), h.notes, -1) end
  if r.unopened then redis.call('HDEL', key('run', run), 'unopened') end
  if h.progress and r.claims ~= '0' then redis.call('HSET', key('run', run), 'claims', 0) end
end
local refused, denied = refusal()
write_money()

-- What is new and not refused, in one piece.
local last_entry = 1 + (refused and h.results or total)
local contents_of_announcement = 2 + total + h.result_contents
local first_content = known == 0 and 2 + total or contents_of_announcement
local last_content = refused and contents_of_announcement - 1 or #ARGV
local entries = slice(2 + known, last_entry)
write(run, r, entries, slice(first_content, last_content))
if #entries > 0 then redis.call('PUBLISH', key('tail', run), 's' .. r.seq) end
if refused then return reply(refused, denied) end

local record_key = key('run', run)
if h.after == 'finish' then
  others().release(run, r, r.owner)
  redis.call('HSET', record_key, 'status', h.status, 'ended_ms', int(now))
  redis.call('DEL', key('run', run, 'inbox'))
  if r.abort then redis.call('ZREM', key('aborting'), run) end
  redis.call('PUBLISH', key('ended', run), '')
elseif h.after == 'hand_over' then
  others().release(run, r, r.owner)
  r.wake_seq = next_wake_seq(run)
  if h.unopened then note_unopened()
  elseif not h.failed then redis.call('HSET', record_key, 'claims', 0) end
  others().enqueue(run, r.tenant, r.rank, now)
elseif h.after == 'park' then
  others().release(run, r, r.owner)
  redis.call('HSET', record_key, 'status', 'waiting', 'reason', h.park.reason, 'claims', 0)
  redis.call('ZADD', key('parked'), int(now), run)
  if h.park.due_ms then redis.call('ZADD', key('timers'), int(h.park.due_ms), run) end
  if h.park.pressure then redis.call('ZADD', key('pressured'), r.created_ms, run) end
  if h.park.scope then
    others().wait_for_room(run, r, h.park, now)
    -- It may have been woken at once.
    r.wake_seq = redis.call('HGET', record_key, 'wake_seq')
  end
end
return reply('OK')
