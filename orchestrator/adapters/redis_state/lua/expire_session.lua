#!lua
-- Takes a session that has expired out of the listing. KEYS: session, sessions, expiring.
local tenant, session_id = ARGV[1], ARGV[2]
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[2], session_id)
  redis.call('ZREM', KEYS[3], 'session\0' .. tenant .. '\0' .. session_id)
end
return 'DONE'
