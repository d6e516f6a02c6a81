-- One atomic step of the pool, or nothing.
-- KEYS[1] head, KEYS[2] leader, then every other key that the step touches, those that must not exist yet first.
-- ARGV[1] epoch and [2] seq that it builds on, [3] its id, [4] the leader's name, [5] its lease in ms,
--     [6] how many keys must not exist yet, then the commands: number of arguments, name, index into KEYS, arguments.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'id')
if head[3] == ARGV[3] then return 'repeated' end
if head[1] ~= ARGV[1] then return 'deposed' end
if (head[2] or '0') ~= ARGV[2] then return 'moved' end

local fresh = tonumber(ARGV[6])
for first = 1, fresh, 4000 do
  local last = math.min(first + 3999, fresh)
  if redis.call('EXISTS', unpack(KEYS, first + 2, last + 2)) > 0 then return 'exists' end
end

local at = 7
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  redis.call(ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], unpack(ARGV, at + 3, at + 2 + count))
  at = at + 3 + count
end

redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', tonumber(ARGV[2]) + 1), 'id', ARGV[3])
if redis.call('GET', KEYS[2]) == ARGV[4] then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
return 'done'
