#!lua
-- needs: _time _ended
-- Which runs go on though the run that started them has ended. KEYS: children, then run and
-- parent of each; ARGV: tenant and entry of each. Returns what is kept of each such run, nil for
-- the others; one that has ended is taken out. The next look begins with other entries.
local CHILDREN = KEYS[1]
local left = {}
for number = 1, #ARGV / 2 do
  local tenant, entry = ARGV[number * 2 - 1], ARGV[number * 2]
  local run, parent = KEYS[number * 2], KEYS[number * 2 + 1]
  left[number] = false
  if ended(run, tenant) then
    redis.call('ZREM', CHILDREN, entry)
  else
    redis.call('ZADD', CHILDREN, 'XX', text(NOW), entry)
    if ended(parent, tenant) then
      left[number] = redis.call('HMGET', run, 'tenant', 'doc', 'state', 'version', 'created',
        'updated', 'finished', 'paused')
    end
  end
end
return left
