-- Reports go out and the orders that they are about are settled, in one step.
-- KEYS[1] reports, KEYS[2] this agent's orders. ARGV[1] the group, [2] how many orders are settled, their entries,
-- then the reports' bodies.
local settled = tonumber(ARGV[2])
for at = 3 + settled, #ARGV do redis.call('XADD', KEYS[1], '*', 'm', ARGV[at]) end
if settled > 0 then
  redis.call('XACK', KEYS[2], ARGV[1], unpack(ARGV, 3, 2 + settled))
  redis.call('XDEL', KEYS[2], unpack(ARGV, 3, 2 + settled))
end
return #ARGV - 2 - settled
