#!lua flags=allow-oom
-- A sign of life. It takes the place of the last one, and so is welcome when the memory is full, too: a sidecar that
-- could not beat would be thought dead. KEYS[1] the beat. ARGV[1] its body, [2] for how long it is kept, in ms.
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
