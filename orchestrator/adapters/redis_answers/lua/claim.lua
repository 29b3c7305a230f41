#!lua
-- needs: _entries
-- KEYS: entries, used, sizes, likenesses, members, lease. ARGV: digest, owner, lease ms.
-- Replies with the answer, or 1 when the owner has the lease now, or 0.
local answer = read(ARGV[1])
if answer then
  return answer
end
local holder = redis.call('GET', KEYS[6])
if holder and holder ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[6], ARGV[2], 'PX', ARGV[3])
return 1
