#!lua
-- needs: _entries
-- KEYS: entries, used, sizes, likenesses, members, lease.
-- ARGV: digest, owner, answer, member of likenesses or '', ttl ms, most entries, most bytes.
-- Replies with how many answers had to go.
local digest, answer, member = ARGV[1], ARGV[3], ARGV[4]
drop(digest)
local now = micros()
local entry = string.format('%.0f', now + 1000 * tonumber(ARGV[5])) .. ':' .. answer
redis.call('HSET', KEYS[1], digest, entry)
redis.call('ZADD', KEYS[2], now, digest)
redis.call('HINCRBY', KEYS[3], 'bytes', #entry + #member)
if member ~= '' then
  redis.call('ZADD', KEYS[4], 0, member)
  redis.call('HSET', KEYS[5], digest, member)
end
local evicted = 0
while
  redis.call('HLEN', KEYS[1]) > tonumber(ARGV[6])
  or tonumber(redis.call('HGET', KEYS[3], 'bytes')) > tonumber(ARGV[7])
do
  local oldest = redis.call('ZPOPMIN', KEYS[2])
  if #oldest == 0 then -- somebody deleted a part: begin anew
    redis.call('DEL', KEYS[1], KEYS[3], KEYS[4], KEYS[5])
    break
  end
  drop(oldest[1])
  evicted = evicted + 1
end
-- All at one moment: the sums fit what there is for as long as there is anything.
for n = 1, 5 do
  redis.call('PEXPIRE', KEYS[n], ARGV[5])
end
if redis.call('GET', KEYS[6]) == ARGV[2] then
  redis.call('DEL', KEYS[6])
end
return evicted
