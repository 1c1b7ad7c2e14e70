#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include permits
--- @include queue
--- @include admission
-- Something a parked run waits for happened.
-- KEYS[1] partition root
-- ARGV[1] run  [2] reason
-- returns [OK, activation...] | [NOT_FOUND]   (NOT_FOUND: no such run, or it has ended)
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
if not wake(ARGV[1], ARGV[2], now) then return { 'NOT_FOUND' } end
return append({ 'OK' }, admit(now))
