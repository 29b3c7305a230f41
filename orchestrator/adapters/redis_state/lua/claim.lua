#!lua
-- needs: _time _queue
-- Leases up to a number of items; KEYS[11] remembers them for a repeated call.
local kind, limit, lease_ms = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local nonce, worker = ARGV[7], ARGV[8]
local REPEAT_S = 60

local remembered = redis.call('GET', KEYS[11])
if remembered then
  return cmsgpack.unpack(remembered)
end
local claims = {}
local expires = NOW + lease_ms
for number = 1, limit do
  local item, tenant, attempt = lease_next(kind, nonce .. number, worker, expires)
  if not item then
    break
  end
  local _, _, _, payload = record_of(item)
  claims[number] = { payload, tenant, nonce .. number, tostring(attempt), text(expires) }
end
if #claims > 0 then
  redis.call('SET', KEYS[11], cmsgpack.pack(claims), 'EX', REPEAT_S)
end
return claims
