#!lua flags=allow-oom
-- needs: _time _queue
-- Queues items with expired leases again. One that is out of attempts is leased to the
-- caller instead, who fails its run. Returns how many are queued again, then those leases.
local limit, max_attempts, nonce = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local GRACE_MS = 30000

local queued, exhausted = 0, {}
local expired = redis.call('ZRANGE', LEASES, '-inf', text(NOW), 'BYSCORE', 'LIMIT', 0, limit)
for number, item in ipairs(expired) do
  local kind, tenant, member, payload = record_of(item)
  local attempt = tonumber(redis.call('HGET', ATTEMPTS, item) or 0)
  if attempt >= max_attempts then
    local extra = cmsgpack.unpack(redis.call('HGET', HELD, item))[2]
    local expires = text(NOW + GRACE_MS)
    redis.call('HSET', HELD, item, cmsgpack.pack({ nonce .. number, extra, 0, 'reaper' }))
    redis.call('ZADD', LEASES, expires, item)
    exhausted[#exhausted + 1] = { payload, tenant, nonce .. number, tostring(attempt), expires }
  else
    release(item, kind, tenant)
    push(kind, tenant, member)
    queued = queued + 1
  end
end
return { wake(), queued, exhausted }
