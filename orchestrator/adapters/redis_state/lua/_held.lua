-- Reservations for calls that belong to no run: KEYS[9..10], by token and by expiry.
local HELD, HOLDING = KEYS[9], KEYS[10]

-- Whoever waited for it may go on.
local function give_back(token)
  local packed = redis.call('HGET', HELD, token)
  if not packed then
    return
  end
  local tenant, agent, micros = unpack(cmsgpack.unpack(packed))
  hold(tenant, agent, -micros)
  redis.call('HDEL', HELD, token)
  redis.call('ZREM', HOLDING, token)
  if first('reason', tenant) then
    make_ready('reason', tenant)
  end
end
