#!lua
-- needs: _time _day _queue _budget
-- Reserves of a tenant's budgets for calls that belong to no run: DONE, OVER when one is spent
-- (whose, and whether it could be read), WAIT when reservations stand in the way.
-- KEYS[9..11]: what is spent, reservations, those by expiry.
local SPEND, HELD, HOLDING = KEYS[9], KEYS[10], KEYS[11]
local tenant, agent, token = ARGV[4], ARGV[5], ARGV[6]
local micros, ttl_ms = tonumber(ARGV[7]), tonumber(ARGV[8])

if redis.call('HEXISTS', HELD, token) == 1 then
  return { 'DONE' }
end
local what, whose, readable = barred(cjson.decode(ARGV[9]), SPEND, tenant, agent, micros)
if what then
  return { what, whose, readable or 1 }
end
hold(tenant, agent, micros)
redis.call('HSET', HELD, token, cmsgpack.pack({ tenant, agent, micros }))
redis.call('ZADD', HOLDING, text(NOW + ttl_ms), token)
finish()
return { 'DONE' }
