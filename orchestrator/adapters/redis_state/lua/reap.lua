#!lua flags=allow-oom
-- needs: _time _queue _held
-- Queues items with expired leases again, and delayed ones whose time has come. An item that
-- is out of attempts is leased to the caller instead, who fails its run; its record keeps the
-- worker that had it. Returns how many are queued again, then those leases. Also gives
-- back reservations that have expired, and forgets what was counted for tenants that were
-- idle for long: KEYS[11].
local limit, max_attempts, nonce = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local idle_ms = tonumber(ARGV[7])
local GRACE_MS = 30000
local FORGOTTEN_AT_ONCE = 20

local queued, exhausted = 0, {}
local expired = redis.call('ZRANGE', LEASES, '-inf', text(NOW), 'BYSCORE', 'LIMIT', 0, limit)
for number, item in ipairs(expired) do
  local record = load(item)
  if record.tries >= max_attempts then
    local expires = text(NOW + GRACE_MS)
    record.nonce, record.said = nonce .. number, 0
    save(item, record)
    redis.call('ZADD', LEASES, expires, item)
    exhausted[#exhausted + 1] = { record.payload, record.tenant, record.nonce,
      tostring(record.tries), expires, text(NOW), '0' }
  else
    end_lease(item, record)
    queue_up(item, record, 0)
    queued = queued + 1
  end
end
promote()
for _, token in ipairs(redis.call('ZRANGE', HOLDING, '-inf', text(NOW), 'BYSCORE',
  'LIMIT', 0, limit)) do
  give_back(token)
end

local idle = redis.call('ZRANGE', KEYS[11], '-inf', text(NOW - idle_ms), 'BYSCORE',
  'LIMIT', 0, FORGOTTEN_AT_ONCE)
for _, tenant in ipairs(idle) do
  if redis.call('HEXISTS', COUNTERS, 'live\0' .. tenant) == 1 then
    redis.call('ZADD', KEYS[11], text(NOW), tenant)
  else
    for kind in pairs(QUEUE) do
      redis.call('HDEL', COUNTERS, virtual(kind, tenant), served(kind, tenant),
        running(kind, tenant), 'turn\0' .. kind .. '\0' .. tenant)
    end
    redis.call('ZREM', KEYS[11], tenant)
  end
end
finish()
return { queued, exhausted }
