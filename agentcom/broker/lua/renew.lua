-- Renew the leases of what really runs, but only where this sidecar still owns the entry: an unconditional XCLAIM would
-- let a sidecar that was away take an order back from its rescuer.
-- KEYS[1] this agent's orders. ARGV[1] the group, [2] the consumer, then entries. Returns the entries it does not own.
local lost = {}
for at = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[at]
  end
end
return lost
