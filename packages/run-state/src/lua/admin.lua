#!lua flags=allow-oom
--- @include base
-- Administration events on their way to Postgres. Written before what they tell of is done, or it is not done (R9),
-- so also when memory is full; and without looking at the trust marker, since nothing that lies here is believed.
-- KEYS[1] partition root
-- ARGV[1] tenant  [2] chain  [3..] events (JSON)
-- returns number of events
for i = 3, #ARGV do
  redis.call('XADD', key('audit'), '*', 'r', ARGV[2], 't', ARGV[1], 'j', ARGV[i])
end
return #ARGV - 2
