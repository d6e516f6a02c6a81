#!lua flags=allow-oom
-- Change what is known of a pool's incidents, unless somebody else has changed it since it was read. The key expires
-- when nobody has written for long. That memory is full is itself an incident: hence the flag.
-- KEYS[1] alerts. ARGV[1] the version that was read, empty for none, [2] the version from now on, [3] for how long to
-- keep it, in ms, [4] how many fields go, then these, then pairs of a field and its value. Returns whether it was done.
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 0 end
local pairs_from = 5 + tonumber(ARGV[4])
for place = 5, pairs_from - 1 do redis.call('HDEL', KEYS[1], ARGV[place]) end
for place = pairs_from, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
redis.call('HSET', KEYS[1], 'version', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
