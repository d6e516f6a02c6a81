#!lua flags=allow-oom
-- Make a consumer group that begins at the start of its stream, unless there is one: also in full memory, where XGROUP
-- is denied although it would change nothing. KEYS[1] the stream. ARGV[1] the group.
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if type(made) == 'table' and made['err'] and not string.find(tostring(made['err']), 'BUSYGROUP', 1, true) then return made end
return 'OK'
