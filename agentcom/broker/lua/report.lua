#!lua flags=allow-oom
-- Reports go out that settle no order. While no scheduler reads, every start of a sidecar would leave some behind: so
-- many at most. KEYS[1] reports. ARGV[1] how many may wait unread, then the reports' bodies.
local waiting = redis.call('XLEN', KEYS[1])
if waiting >= tonumber(ARGV[1]) then
  return redis.error_reply('FULL ' .. waiting .. ' reports wait unread, and no more may: no scheduler reads them')
end
for at = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'm', ARGV[at]) end
return #ARGV - 1
