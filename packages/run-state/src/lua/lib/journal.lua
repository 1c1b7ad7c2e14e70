-- The journal and its copy for the audit-writer are written together: what is acted on is audited (R9).

local function add_contents(run, contents)
  for i = 1, #contents, 2 do
    redis.call('HSET', key('run', run, 'contents'), contents[i], contents[i + 1])
  end
end

-- entries: "<hash><body>"; contents: [ref, sealed, ...]; wrapped_key only with a run's first event.
local function write(run, r, entries, contents, wrapped_key)
  if #entries == 0 then return end
  add_contents(run, contents)
  redis.call('RPUSH', key('run', run, 'events'), unpack(entries))
  local seq = redis.call('HINCRBY', key('run', run), 'seq', #entries)
  local head = string.sub(entries[#entries], 1, 64)
  redis.call('HSET', key('run', run), 'head', head)

  local fields = { 'r', run, 't', r.tenant, 'u', r.user or '', 'a', r.agent or '', 'o', r.root }
  if wrapped_key then
    fields[#fields + 1] = 'k'
    fields[#fields + 1] = wrapped_key
  end
  for _, entry in ipairs(entries) do
    fields[#fields + 1] = 'e'
    fields[#fields + 1] = entry
  end
  for i = 1, #contents, 2 do
    fields[#fields + 1] = 'c'
    fields[#fields + 1] = contents[i] .. ' ' .. contents[i + 1]
  end
  redis.call('XADD', key('audit'), '*', unpack(fields))
  return seq, head
end

local function publish_head(run, seq)
  redis.call('PUBLISH', key('tail', run), 's' .. seq)
end

local function notes_of(run)
  return redis.call('LRANGE', key('run', run, 'inbox'), 0, -1)
end
