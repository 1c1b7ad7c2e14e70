#!lua flags=allow-oom
--- @include base
--- @include permits
--- @include queue
-- Asks a run to stop: the flag first, then the note for the owner, then the hint to the workers.
-- From here on no announcement of the run is written but its end (R7).
-- KEYS[1] partition root
-- ARGV[1] run  [2] tenant  [3] flag (JSON: requested_at, by, reason)
-- returns [OK | REPEATED | TERMINAL | NOT_FOUND, flag, status] | [UNTRUSTED] (unknown here, maybe not in Postgres)
local run = ARGV[1]
local r = record(run, { 'status', 'tenant', 'abort', 'rank', 'owner' })
if not r.status or r.tenant ~= ARGV[2] then return { is_trusted() and 'NOT_FOUND' or 'UNTRUSTED' } end
if is_terminal(r.status) then return { 'TERMINAL' } end
if r.abort then return { 'REPEATED', r.abort, r.status } end
redis.call('HSET', key('run', run), 'abort', ARGV[3])
redis.call('ZADD', key('aborting'), int(now_ms()), run)
-- For an owner that misses the hint.
if r.owner then redis.call('SADD', key('lease', r.owner, 'aborts'), run) end
local note = cjson.decode(ARGV[3])
note.type = 'abort'
redis.call('RPUSH', key('run', run, 'inbox'), cjson.encode(note))
-- Without an owner, whoever comes first, the caller or a worker, writes its end (R10).
notify(run, r, now_ms())
redis.call('PUBLISH', key('aborts'), run)
redis.call('PUBLISH', key('tail', run), 'a')
return { 'OK', ARGV[3], r.status }
