#!lua
-- needs: _time _events
-- Appends events of a running item. KEYS: held, run, stream. The emits of a lease are
-- numbered upwards and sent one after the other: a number that came before is a repeat.
local HELD, RUN, STREAM = KEYS[1], KEYS[2], KEYS[3]
local item, nonce, number, tenant = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local step, attempt = ARGV[5], ARGV[6]
local about = { tenant = tenant, channel = ARGV[7], kept = ARGV[8] }

local packed = redis.call('HGET', HELD, item)
local lease = packed and cmsgpack.unpack(packed)
if not lease or lease[1] ~= nonce or redis.call('HGET', RUN, 'tenant') ~= tenant then
  return 'STALE'
end
if number <= lease[3] then
  return 'AGAIN'
end
redis.call('HSET', HELD, item, cmsgpack.pack({ nonce, lease[2], number, lease[4] }))
append(RUN, STREAM, about, step, attempt, { unpack(ARGV, 9) })
return 'DONE'
