#!lua flags=allow-oom
-- needs: _time _queue
-- What the fair queue knows of the tenants that were here last: KEYS[9].
-- Returns tenant, served, queued, running of each.
local kind, limit = ARGV[4], tonumber(ARGV[5])
promote()
finish()
local loads = {}
for _, tenant in ipairs(redis.call('ZRANGE', KEYS[9], 0, limit - 1, 'REV')) do
  local counter, total, count = unpack(redis.call('HMGET', COUNTERS,
    virtual(kind, tenant), served(kind, tenant), running(kind, tenant)))
  if counter then
    local queued = redis.call('ZLEXCOUNT', QUEUE[kind], '[' .. tenant .. '\0', '(' .. tenant .. '\1')
    loads[#loads + 1] = { tenant, total or '0', tostring(queued), count or '0' }
  end
end
return loads
