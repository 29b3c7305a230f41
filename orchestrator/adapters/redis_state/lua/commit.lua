#!lua flags=allow-oom
-- needs: _time _queue _events _run
-- Writes an item's outcome once: DONE, STALE, or VERSION when the run changed meanwhile.
local item, nonce, version = take(), take(), take()
local moved = take_transition()

local owner, current, done = unpack(
  redis.call('HMGET', RUN, 'tenant', 'version', 'done\0' .. item))
if owner ~= TENANT then
  return { 'STALE', {}, '' }
end
if done == nonce then
  return { 'DONE', {}, '' }
end
local packed = redis.call('HGET', HELD, item)
if not packed or cmsgpack.unpack(packed)[1] ~= nonce then
  return { 'STALE', {}, '' }
end
if current ~= version then
  return { 'VERSION', {}, '' }
end

redis.call('HSET', RUN, 'done\0' .. item, nonce)
forget(item, moved.charge)
redis.call('SREM', OPEN, item)
apply(moved)
return { 'DONE', wake(), '' }
