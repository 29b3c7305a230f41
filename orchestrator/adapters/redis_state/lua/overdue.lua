#!lua
-- Which runs past their timeout nobody works on. KEYS: timeouts, items, then run and session
-- of each; ARGV: tenant, session and run of each. Returns what is kept of each such run, nil
-- for the others; one that is gone is taken out.
local TIMEOUTS, ITEMS = KEYS[1], KEYS[2]

local function is_worked_on(session, run_id)
  local active, open = unpack(redis.call('HMGET', session, 'active', 'open'))
  if active ~= run_id or not open or open == '' then
    return false
  end
  for item in pairs(cmsgpack.unpack(open)) do
    local packed = redis.call('HGET', ITEMS, item)
    if packed and cmsgpack.unpack(packed).state == 'leased' then
      return true
    end
  end
  return false
end

local left = {}
for number = 1, #ARGV / 3 do
  local tenant, session_id, run_id = unpack(ARGV, number * 3 - 2, number * 3)
  local run, session = KEYS[number * 2 + 1], KEYS[number * 2 + 2]
  local entry = tenant .. '\0' .. session_id .. '\0' .. run_id
  left[number] = false
  if redis.call('HGET', run, 'tenant') ~= tenant then
    redis.call('ZREM', TIMEOUTS, entry)
  elseif not is_worked_on(session, run_id) then
    left[number] = redis.call('HMGET', run, 'tenant', 'doc', 'state', 'version', 'created',
      'updated', 'finished', 'paused')
  end
end
return left
