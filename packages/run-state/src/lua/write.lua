#!lua flags=allow-oom
-- Several writes at one instant. Not MULTI, which a full Redis refuses, as it does a plain SET: a cap could not be
-- lowered nor a key revoked when it matters most. Without looking at the trust marker: Postgres has the truth, and a
-- verification writes it here by this script (Trust).
-- KEYS[1] partition root, whose slot all keys written are in
-- ARGV[1] commands (JSON): [name, key, argument...]...
-- returns nothing
for _, command in ipairs(cjson.decode(ARGV[1])) do
  redis.call(unpack(command))
end
