#!lua
-- needs: _time _events
-- Appends events of a running item. KEYS: items, run, stream. The emits of a lease are
-- numbered upwards and sent one after the other: a number that came before is a repeat.
local ITEMS, RUN, STREAM = KEYS[1], KEYS[2], KEYS[3]
local item, nonce, number, tenant = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local step, attempt = ARGV[5], ARGV[6]
local about = { tenant = tenant, channel = ARGV[7], kept = tonumber(ARGV[8]) }

local packed = redis.call('HGET', ITEMS, item)
local record = packed and cmsgpack.unpack(packed)
if not record or record.nonce ~= nonce or redis.call('HGET', RUN, 'tenant') ~= tenant then
  return 'STALE'
end
if number <= (record.said or 0) then
  return 'AGAIN'
end
record.said = number
redis.call('HSET', ITEMS, item, cmsgpack.pack(record))
append(RUN, STREAM, about, step, attempt, { unpack(ARGV, 9) })
return 'DONE'
