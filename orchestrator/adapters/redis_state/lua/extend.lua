#!lua
-- needs: _time
-- Prolongs leases of one shard. KEYS: leases, held, then each lease's session.
-- ARGV: lease_ms, then item, nonce, run for each. Repeating it does no harm.
local LEASES, HELD = KEYS[1], KEYS[2]
local expires = text(NOW + tonumber(ARGV[1]))
local states = {}
for number = 1, #KEYS - 2 do
  local item, nonce, run_id = unpack(ARGV, number * 3 - 1, number * 3 + 1)
  local packed = redis.call('HGET', HELD, item)
  if not packed or cmsgpack.unpack(packed)[1] ~= nonce then
    states[number] = 'lost'
  else
    redis.call('ZADD', LEASES, 'XX', expires, item)
    local cancel = redis.call('HGET', KEYS[number + 2], 'cancel')
    states[number] = cancel == run_id and 'cancel_requested' or 'held'
  end
end
return states
