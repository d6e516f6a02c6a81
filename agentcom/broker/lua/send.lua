-- Requests go into the inbox, all of them or none: none if so many, or so much, waits there unread that it should take no
-- more. KEYS[1] inbox, KEYS[2] head, where the leader says how much may wait. ARGV[1] how many may if no leader ever said
-- so, [2] `reserve` if these may use the reserve, [3] how many entries are to come after these, [4] how many bytes may wait
-- if no leader ever said so, then the requests' bodies.
-- Returns the entries' ids; or, if they were not taken, how many wait and may, and if it is for that, bytes that do and may.
local said = redis.call('HMGET', KEYS[2], 'max_inbox', 'max_inbox_bytes')
local most, most_bytes = tonumber(said[1] or ARGV[1]), tonumber(said[2] or ARGV[4])
if ARGV[2] == 'reserve' then
  most, most_bytes = most + math.max(100, math.floor(most / 10)), most_bytes + math.floor(most_bytes / 10)
end
local waiting = redis.call('XLEN', KEYS[1])
if waiting + #ARGV - 4 + tonumber(ARGV[3]) > most then return { waiting, most } end
-- A server, or its rules, may not tell: then only these count.
local used, coming = redis.pcall('MEMORY', 'USAGE', KEYS[1]), 0
local bytes = type(used) == 'number' and used or 0
for at = 5, #ARGV do coming = coming + #ARGV[at] end
if bytes + coming > most_bytes then return { waiting, most, bytes, most_bytes } end
local entries = {}
for at = 5, #ARGV do entries[#entries + 1] = redis.call('XADD', KEYS[1], '*', 'm', ARGV[at]) end
return entries
