-- Requests go into the inbox, all of them or none: none if so many wait there unread that it should take no more.
-- KEYS[1] inbox, KEYS[2] head, where the leader says how many may wait. ARGV[1] how many may if no leader ever said so,
-- [2] `reserve` if these may use the reserve, [3] how many entries are to come after these, then the requests' bodies.
-- Returns the entries' ids; or, if they were not taken, how many wait and how many may.
local most = tonumber(redis.call('HGET', KEYS[2], 'max_inbox') or ARGV[1])
if ARGV[2] == 'reserve' then most = most + math.max(100, math.floor(most / 10)) end
local waiting = redis.call('XLEN', KEYS[1])
if waiting + #ARGV - 3 + tonumber(ARGV[3]) > most then return { waiting, most } end
local entries = {}
for at = 4, #ARGV do entries[#entries + 1] = redis.call('XADD', KEYS[1], '*', 'm', ARGV[at]) end
return entries
