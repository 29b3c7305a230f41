#!lua
-- needs: _time _day _queue _budget
-- Leases up to a number of items; KEYS[9] remembers them for a repeated call. An inference
-- reserves what it may cost (ARGV[9]) of the budgets (ARGV[10]) that bind it; with one that is
-- spent it is leased all the same, and whose that is comes with it. KEYS[10]: what is spent.
local kind, limit, lease_ms = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local nonce, worker = ARGV[7], ARGV[8]
local micros = tonumber(ARGV[9])
local BUDGETS = ARGV[10] ~= '' and cjson.decode(ARGV[10])
local REPEAT_S = 30

local remembered = redis.call('GET', KEYS[9])
if remembered then
  return cmsgpack.unpack(remembered)
end

local over
local function admit(record)
  over = nil
  if not BUDGETS or kind ~= 'reason' then
    return nil
  end
  local what, whose, readable = barred(BUDGETS, KEYS[10], record.tenant, record.agent, micros)
  if what == 'WAIT' then
    return whose
  end
  if what == 'OVER' then
    over = { whose, readable }
    return nil
  end
  return nil, whose and micros or nil
end

promote()
local claims = {}
local expires = text(NOW + lease_ms)
for number = 1, limit do
  local record = lease_next(kind, nonce .. number, worker, expires, admit)
  if not record then
    break
  end
  claims[number] = { record.payload, record.tenant, record.nonce, tostring(record.tries),
    expires, text(NOW), text(NOW - record.since), over }
end
if #claims > 0 then
  redis.call('SET', KEYS[9], cmsgpack.pack(claims), 'EX', REPEAT_S)
end
look_again(kind)
finish()
return claims
