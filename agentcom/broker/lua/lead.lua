#!lua flags=allow-oom
-- Become the leader if nobody else is. Every leadership has its own epoch, so that the commits of an earlier one are
-- refused; and since a number can come back after a fail-over, the leader's name stands beside it.
-- KEYS[1] head, KEYS[2] leader. ARGV[1] who asks, [2] the lease in ms, [3] how many requests may wait unread and [4] how
-- many bytes of them, which whoever sends some obeys. Returns the epoch, or false.
-- A number of the head that is none begins anew: nobody could ever lead else, and the leader's name still tells one
-- leadership from another.
-- Where somebody has taken the end of a lease away, it gets one.
local leader = redis.call('GET', KEYS[2])
if leader and leader ~= ARGV[1] then
  if redis.call('PTTL', KEYS[2]) == -1 then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
  return false
end
for _, field in ipairs({ 'epoch', 'seq' }) do
  local found = redis.call('HGET', KEYS[1], field)
  if found and not (#found <= 15 and string.match(found, '^%d+$')) then redis.call('HSET', KEYS[1], field, '0') end
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'max_inbox', ARGV[3], 'max_inbox_bytes', ARGV[4])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'epoch', 1)
