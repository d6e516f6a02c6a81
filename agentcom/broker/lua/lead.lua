-- Become the leader if nobody is. Every leadership has its own epoch, so that the commits of an earlier one are refused.
-- KEYS[1] head, KEYS[2] leader. ARGV[1] who asks, [2] the lease in ms. Returns the epoch, or false.
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
return redis.call('HINCRBY', KEYS[1], 'epoch', 1)
