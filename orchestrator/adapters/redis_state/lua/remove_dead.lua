#!lua
-- Removes dead letters. KEYS: entries, by tenant, by age; ARGV: tenant, then the ids.
local removed = 0
for number = 2, #ARGV do
  local member = ARGV[1] .. '\0' .. ARGV[number]
  removed = removed + redis.call('HDEL', KEYS[1], member)
  redis.call('ZREM', KEYS[2], member)
  redis.call('ZREM', KEYS[3], member)
end
return removed
