#!lua
-- needs: _time _queue
-- Leases up to a number of items; KEYS[9] remembers them for a repeated call.
local kind, limit, lease_ms = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local nonce, worker = ARGV[7], ARGV[8]
local REPEAT_S = 30

local remembered = redis.call('GET', KEYS[9])
if remembered then
  return cmsgpack.unpack(remembered)
end
promote()
local claims = {}
local expires = text(NOW + lease_ms)
for number = 1, limit do
  local record = lease_next(kind, nonce .. number, worker, expires)
  if not record then
    break
  end
  claims[number] = { record.payload, record.tenant, record.nonce, tostring(record.tries),
    expires, text(NOW), text(NOW - record.since) }
end
if #claims > 0 then
  redis.call('SET', KEYS[9], cmsgpack.pack(claims), 'EX', REPEAT_S)
end
finish()
return claims
