#!lua flags=allow-oom
-- needs: _time _day _ledger _queue _held
-- Gives a reservation back, if it has not expired, and books the calls that it was for: DONE,
-- or DAY when that is another than the caller knows. KEYS[11..14]: what is spent, the usage of
-- two days, and what remembers that this was done.
local SPEND, USAGE, DONE = KEYS[11], { [ARGV[4]] = KEYS[12], [ARGV[5]] = KEYS[13] }, KEYS[14]
local kept_days, tenant, agent, token, cost = tonumber(ARGV[6]), unpack(ARGV, 7, 10)
local REPEAT_S = 30

if redis.call('EXISTS', DONE) == 1 then
  return 'DONE'
end
local calls = {}
for at = 11, #ARGV, 7 do
  calls[#calls + 1] = { unpack(ARGV, at, at + 6) }
end
if #calls > 0 and not USAGE[TODAY] then
  return 'DAY'
end
redis.call('SET', DONE, '1', 'EX', REPEAT_S)
give_back(token)
book(USAGE[TODAY], SPEND, { tenant, agent, cost, kept_days }, calls, {})
finish()
return 'DONE'
