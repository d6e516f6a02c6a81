#!lua flags=allow-oom
-- One atomic step of the pool, or nothing. Full memory does not stop it: what is open can be finished, which frees memory.
-- KEYS[1] head, KEYS[2] leader, then every other key that the step touches, those that must not exist yet first.
-- ARGV[1] epoch and [2] seq that it builds on, [3] its id, [4] the leader's name, [5] its lease in ms,
--     [6] how many keys must not exist yet, then the commands: number of arguments, name, index into KEYS, arguments.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'id', 'owner')
if head[3] == ARGV[3] then return 'repeated' end
if head[1] ~= ARGV[1] or head[4] ~= ARGV[4] then return 'deposed' end
if (head[2] or '0') ~= ARGV[2] then return 'moved' end
local leads = redis.call('GET', KEYS[2]) == ARGV[4]

local fresh = tonumber(ARGV[6])
for first = 1, fresh, 4000 do
  local last = math.min(first + 3999, fresh)
  if redis.call('EXISTS', unpack(KEYS, first + 2, last + 2)) > 0 then return 'exists' end
end

-- Redis does not undo what a script wrote before one of its commands failed, so every key's type is looked at first.
local types = {
  HSET = 'hash', HDEL = 'hash', ZADD = 'zset', ZREM = 'zset',
  XADD = 'stream', XACK = 'stream', XDEL = 'stream', XTRIM = 'stream', HAS = 'stream',
}
local seen = {}
local at = 7
while at <= #ARGV do
  local wanted, key = types[ARGV[at + 1]], KEYS[tonumber(ARGV[at + 2])]
  if wanted and not seen[key] then
    seen[key] = true
    local found = redis.call('TYPE', key)['ok']
    if found ~= wanted and found ~= 'none' then
      return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted)
    end
  end
  -- During a fail-over the leader may have read from a server that is not this one: where the last entry that it took
  -- into account is not here, the older ones that are would be trimmed unread.
  if ARGV[at + 1] == 'HAS' and #redis.call('XRANGE', key, ARGV[at + 3], ARGV[at + 3]) == 0
    and #redis.call('XRANGE', key, '-', ARGV[at + 3], 'COUNT', 1) > 0 then return 'moved' end
  at = at + 3 + tonumber(ARGV[at])
end

-- What can fail all the same (an ACL rule, a stream whose ids are used up) fails alone: the rest and the head are still
-- written, so that sending the call again doubles nothing, and the failure is the reply.
local failure
at = 7
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  local reply = ARGV[at + 1] ~= 'HAS'
    and redis.pcall(ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], unpack(ARGV, at + 3, at + 2 + count))
  if type(reply) == 'table' and reply['err'] then failure = failure or reply end
  at = at + 3 + count
end

redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', tonumber(ARGV[2]) + 1), 'id', ARGV[3])
if leads then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
return failure or 'done'
