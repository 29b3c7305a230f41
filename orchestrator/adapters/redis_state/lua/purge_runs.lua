#!lua
-- Removes runs that ended. KEYS: session runs, tenant runs, expiring, then run, stream and
-- steps of each; ARGV: tenant, session, then each run.
local SESSION_RUNS, TENANT_RUNS, EXPIRING = KEYS[1], KEYS[2], KEYS[3]
local tenant, session_id = ARGV[1], ARGV[2]
for number = 1, #ARGV - 2 do
  local run_id = ARGV[number + 2]
  redis.call('UNLINK', unpack(KEYS, number * 3 + 1, number * 3 + 3))
  redis.call('ZREM', SESSION_RUNS, run_id)
  redis.call('ZREM', TENANT_RUNS, run_id)
  redis.call('ZREM', EXPIRING, 'run\0' .. tenant .. '\0' .. session_id .. '\0' .. run_id)
end
return 'DONE'
