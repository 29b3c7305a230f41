#!lua
-- needs: _time _events
-- Begins a claimed item: returns its run, or nothing when the lease or the run is gone.
-- KEYS: held, run, stream. Writes nothing when repeated: the lease's number says it began.
local HELD, RUN, STREAM = KEYS[1], KEYS[2], KEYS[3]
local item, nonce, tenant, step, attempt = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local about = { tenant = tenant, channel = ARGV[6], kept = ARGV[7] }
local running, restarted = ARGV[8], ARGV[9]

local packed = redis.call('HGET', HELD, item)
local lease = packed and cmsgpack.unpack(packed)
if not lease or lease[1] ~= nonce then
  return false
end
local owner, state = unpack(redis.call('HMGET', RUN, 'tenant', 'state'))
if owner ~= tenant then
  return false
end
if lease[3] < 0 then
  redis.call('HSET', HELD, item, cmsgpack.pack({ nonce, lease[2], 0, lease[4] }))
  local events = {}
  if state == 'queued' then
    redis.call('HSET', RUN, 'state', 'running', 'updated', text(NOW))
    events[1] = running
  end
  if attempt ~= '1' then
    events[#events + 1] = restarted
  end
  append(RUN, STREAM, about, step, attempt, events)
end
return redis.call('HMGET', RUN, 'tenant', 'doc', 'state', 'version', 'created', 'updated', 'finished')
