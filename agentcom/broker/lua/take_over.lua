-- Take over what older starts of a sidecar hold, and forget them. In one step, so that nothing is taken from the
-- scheduler which has just claimed it, and nothing dropped with a consumer that has just been given it.
-- KEYS[1] this agent's orders. ARGV[1] the group, [2] the consumer that takes over, then the older ones.
for at = 3, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000, ARGV[at])
  while #held > 0 do
    for _, row in ipairs(held) do
      redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, row[1], 'JUSTID')
    end
    local last = held[#held][1]
    held = redis.call('XPENDING', KEYS[1], ARGV[1], '(' .. last, '+', 1000, ARGV[at])
  end
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[at])
end
