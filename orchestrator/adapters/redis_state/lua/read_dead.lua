#!lua flags=no-writes
-- Returns a dead letter: tenant, worker, time, the rest. KEYS: entries; ARGV: tenant, id.
local packed = redis.call('HGET', KEYS[1], ARGV[1] .. '\0' .. ARGV[2])
return packed and cmsgpack.unpack(packed)
