#!lua flags=no-writes,allow-oom
-- Several reads at one instant. Not MULTI, which a full Redis refuses for reads too.
-- KEYS[1] partition root, whose slot all keys read are in
-- ARGV[1] commands (JSON): [name, key, argument...]...
-- returns their replies
local replies = {}
for i, command in ipairs(cjson.decode(ARGV[1])) do
  replies[i] = redis.call(unpack(command))
end
return replies
