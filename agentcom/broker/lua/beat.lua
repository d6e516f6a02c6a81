#!lua flags=allow-oom
-- A sign of life. It takes the place of the last one, and so is welcome when the memory is full, too: a sidecar that
-- could not beat would be thought dead. But a fresh beat of a newer start of the same name stays, and says who it is.
-- KEYS[1] the beat. ARGV[1] its body, [2] for how long it is kept, in ms, [3] the incarnation that beats,
-- [4] what a beat still has to live if it is fresh. Returns OK, or the newer incarnation.
local function is_newer(one, other)
  -- By bytes, since how Lua compares texts depends on the server's locale.
  for at = 1, math.min(#one, #other) do
    local left, right = string.byte(one, at), string.byte(other, at)
    if left ~= right then return left > right end
  end
  return #one > #other
end

local last = redis.pcall('GET', KEYS[1])
if type(last) == 'string' and redis.call('PTTL', KEYS[1]) > tonumber(ARGV[4]) then
  local incarnation = string.match(last, '"incarnation":"([^"\\]+)"')
  if incarnation and is_newer(incarnation, ARGV[3]) then return incarnation end
end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
