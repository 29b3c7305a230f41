#!lua
-- needs: _time
-- Stores a new version unless the newest has the same body, or is the tenant's own and this is
-- the service's. KEYS: versions, names. A version is its time, the mark of a built-in one if it
-- is that, a space, its body.
local VERSIONS, NAMES = KEYS[1], KEYS[2]
local name, body, builtin = ARGV[1], ARGV[2], ARGV[3]
local newest = redis.call('LINDEX', VERSIONS, -1)
if newest then
  local mark, stored = string.match(newest, '^%d+(%*?) (.*)$')
  if stored == body or (builtin ~= '' and mark == '') then
    return { redis.call('LLEN', VERSIONS), newest }
  end
end
local version = text(NOW) .. builtin .. ' ' .. body
redis.call('ZADD', NAMES, 0, name)
return { redis.call('RPUSH', VERSIONS, version), version }
