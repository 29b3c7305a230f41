#!lua flags=allow-oom
-- needs: _time _queue _events _run
-- Ends a run that nobody works on (DONE), or asks its workers to (ASKED).
local version = take()
local moved = take_transition()

local owner, current, state = unpack(redis.call('HMGET', RUN, 'tenant', 'version', 'state'))
if owner ~= TENANT then
  return { 'NO_RUN', {}, '' }
end
if TERMINAL[state] then
  return { 'ENDED', {}, '' }
end
if current ~= version then
  return { 'VERSION', {}, '' }
end
if redis.call('HGET', SESSION, 'active') == RUN_ID then
  for _, item in ipairs(redis.call('SMEMBERS', OPEN)) do
    if redis.call('HEXISTS', HELD, item) == 1 then
      redis.call('HSET', SESSION, 'cancel', RUN_ID)
      return { 'ASKED', {}, '' }
    end
  end
end

redis.call('LREM', WAIT, 1, RUN_ID)
redis.call('HDEL', WAITING, RUN_ID)
apply(moved)
return { 'DONE', wake(), '' }
