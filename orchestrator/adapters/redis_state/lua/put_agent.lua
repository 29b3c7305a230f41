#!lua
-- needs: _time
-- Stores a new version unless the newest has the same body. KEYS: versions, names.
-- A version is its time, a space, its body.
local VERSIONS, NAMES = KEYS[1], KEYS[2]
local name, body = ARGV[1], ARGV[2]
local newest = redis.call('LINDEX', VERSIONS, -1)
if newest and string.match(newest, '^%d+ (.*)$') == body then
  return { redis.call('LLEN', VERSIONS), newest }
end
local version = text(NOW) .. ' ' .. body
redis.call('ZADD', NAMES, 0, name)
return { redis.call('RPUSH', VERSIONS, version), version }
