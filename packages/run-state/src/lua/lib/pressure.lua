-- Pressure (R9): how full the store is of what Postgres has not taken yet. While Postgres is away the audit stream
-- only grows, so what fills it stops in three levels, by the memory of this Redis and by the commits that wait:
--   1  no new run is taken, and none starts or wakes: what is under way ends first
--   2  no call is announced: running runs park at their next step; what their last action gave is still written
--   3  no activation is claimed, so that nothing starts only to park
-- When nothing waits for Postgres any more and memory is full all the same, it is full of runs, and their ends make
-- room: then those that pressure parked go on, the nearer to level 2 the fewer at once, but always a few.
-- What is above the last level is kept for results, ends, aborts and repair: all scripts but submit write at any
-- level, also above maxmemory (allow-oom).
-- <root>:pressure  HASH  at, share: when memory was last looked at and how much of maxmemory was used;
--                        backlog_limit: commits that may wait, told by whoever submits; woken_at: see repair.lua
-- <root>:pressured ZSET  runs parked by pressure, by age
local LEVELS = { { share = 0.4, backlog = 1 }, { share = 0.6, backlog = 1.5 }, { share = 0.75, backlog = 2 } }
local SAMPLE_MS = 250
local DRAINED = 100 -- fewer commits than this wait when Postgres keeps up
local FEW = 10
local CACHE_SHARE = 0.25 -- ended runs are only a cache: what is above this is for those that go on
local SHORT_TTL_SECONDS = 2

-- 0 without a maxmemory: then only the backlog counts.
local function used_share()
  local info = redis.call('INFO', 'memory')
  local most = tonumber(string.match(info, '\nmaxmemory:(%d+)'))
  return most > 0 and tonumber(string.match(info, '\nused_memory:(%d+)')) / most or 0
end

-- The share, and how many commits may wait.
local function sampled(now)
  local last = redis.call('HMGET', key('pressure'), 'at', 'share', 'backlog_limit')
  local at, known, limit = tonumber(last[1]), tonumber(last[2]), tonumber(last[3]) or math.huge
  if at and known and math.abs(now - at) < SAMPLE_MS then return known, limit end
  local share = string.format('%.4f', used_share())
  redis.call('HSET', key('pressure'), 'at', int(now), 'share', share)
  return tonumber(share), limit
end

local function pressure_of(share, limit)
  local backlog = redis.call('XLEN', key('audit'))
  local found = { level = 0, share = share, backlog = backlog, limit = limit }
  for level, from in ipairs(LEVELS) do
    if share >= from.share or backlog >= limit * from.backlog then found.level = level end
  end
  found.drained = found.level <= 2 and backlog < math.min(DRAINED, limit)
  found.at_ease = found.level == 0 or (found.drained and found.level == 1) -- what hibernates may come back
  return found
end

local function pressure(now)
  return pressure_of(sampled(now))
end

-- How many runs may be admitted at once of those that could be without pressure.
local function allowed(found, most)
  if found.level == 0 then return most end
  if not found.drained then return 0 end
  local from, to = LEVELS[1].share, LEVELS[2].share
  local part = math.max(0, math.min(1, (to - found.share) / (to - from)))
  return math.min(most, math.max(FEW, math.floor(most * part)))
end

-- Whether a run that is at work may announce a call.
local function may_act(now)
  local found = pressure(now)
  return found.level < 2 or (found.drained and redis.call('ZCARD', key('running')) <= FEW)
end

-- How long an ended run is kept for readers.
local function seconds_to_keep(seconds, now)
  return sampled(now) < CACHE_SHARE and seconds or math.min(seconds, SHORT_TTL_SECONDS)
end
