#!lua flags=allow-oom
-- Reports go out and the orders that they are about are settled, in one step, also when the memory is full.
-- KEYS[1] reports, KEYS[2] this agent's orders. ARGV[1] the group, [2] how many orders are settled, their entries,
-- then the reports' bodies.
local settled = tonumber(ARGV[2])
for at = 3 + settled, #ARGV do redis.call('XADD', KEYS[1], '*', 'm', ARGV[at]) end
for first = 3, 2 + settled, 4000 do
  local last = math.min(first + 3999, 2 + settled)
  redis.call('XACK', KEYS[2], ARGV[1], unpack(ARGV, first, last))
  redis.call('XDEL', KEYS[2], unpack(ARGV, first, last))
end
return #ARGV - 2 - settled
