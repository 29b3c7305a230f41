#!lua
-- Deletes a session but its runs, which `purge_runs` takes. What is left says so for as
-- long as a request id lives: a repeated request must not bring the session back.
-- KEYS: session, messages, sessions, expiring, session runs.
local SESSION, MESSAGES, SESSIONS, EXPIRING, RUNS = unpack(KEYS)
local tenant, session_id, kept_ms = ARGV[1], ARGV[2], ARGV[3]

local owner, active, gone = unpack(redis.call('HMGET', SESSION, 'tenant', 'active', 'gone'))
if owner ~= tenant or (gone and redis.call('EXISTS', RUNS) == 0) then
  return { 'NO_SESSION' }
end
if active and active ~= '' then
  return { 'SESSION_BUSY', active }
end
redis.call('UNLINK', SESSION, MESSAGES)
redis.call('ZREM', SESSIONS, session_id)
redis.call('ZREM', EXPIRING, 'session\0' .. tenant .. '\0' .. session_id)
redis.call('HSET', SESSION, 'tenant', tenant, 'gone', '1')
redis.call('PEXPIRE', SESSION, kept_ms)
return { 'DONE' }
