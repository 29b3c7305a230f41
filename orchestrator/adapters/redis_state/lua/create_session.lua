#!lua
-- needs: _time
-- Makes a session once, as a copy of another's messages when there is one.
-- KEYS: session, messages, sessions, expiring, and for a copy: session, messages.
local SESSION, MESSAGES, SESSIONS, EXPIRING = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local tenant, session_id, agent, doc = unpack(ARGV, 1, 4)
local ttl_ms = tonumber(ARGV[5])

local copied = 0
if KEYS[5] then
  local owner, active, start, gone, source_agent, source_doc = unpack(
    redis.call('HMGET', KEYS[5], 'tenant', 'active', 'start', 'gone', 'agent', 'doc'))
  if owner ~= tenant or gone then
    return false
  end
  agent, doc = source_agent, source_doc
  copied = active and active ~= '' and tonumber(start) or redis.call('LLEN', KEYS[6])
end
if redis.call('EXISTS', SESSION) == 0 then
  redis.call('HSET', SESSION, 'tenant', tenant, 'agent', agent, 'doc', doc,
    'created', text(NOW), 'updated', text(NOW))
  if copied > 0 then
    redis.call('COPY', KEYS[6], MESSAGES)
    redis.call('LTRIM', MESSAGES, 0, copied - 1)
  end
  redis.call('ZADD', SESSIONS, 0, session_id)
  redis.call('PEXPIRE', SESSION, ttl_ms)
  redis.call('PEXPIRE', MESSAGES, ttl_ms)
  redis.call('ZADD', EXPIRING, text(NOW + ttl_ms), 'session\0' .. tenant .. '\0' .. session_id)
end
local created, updated = unpack(redis.call('HMGET', SESSION, 'created', 'updated'))
return { { tenant, agent, doc, '', created, updated }, redis.call('LLEN', MESSAGES) }
