-- Adds calls of models to the ledger: to the day, to what budgets count, and to the hashes
-- that are named. Sums are Redis's own, exact up to 2^63; numbers of Lua are doubles.
-- SPEND holds of each tenant and of each of its agents what was spent on the day and in the
-- month of its last call (`on`), and in all.
local METRICS = { 'calls', 'cached', 'prompt', 'cached_prompt', 'completion', 'cost' }
local MOST = '9223372036854775807'

-- What can't be added is the most there is: no budget allows more. A script can't be undone.
local function add(key, field, number)
  if number == '0' then
    return 0
  end
  local sum = redis.pcall('HINCRBY', key, field, number)
  if type(sum) == 'table' then
    redis.pcall('HSET', key, field, MOST)
    return 0
  end
  return sum
end

local function add_spent(spend_key, tenant, agent, micros)
  for _, name in ipairs(agent == '' and { '' } or { '', agent }) do
    local scope = '\0' .. tenant .. '\0' .. name
    local on = redis.pcall('HGET', spend_key, 'on' .. scope) or ''
    on = type(on) == 'string' and on or TODAY -- the key is no hash: no budget can be read then
    if on < TODAY then
      redis.call('HSET', spend_key, 'on' .. scope, TODAY, 'day' .. scope, '0')
      if string.sub(on, 1, 7) < string.sub(TODAY, 1, 7) then
        redis.call('HSET', spend_key, 'month' .. scope, '0')
      end
    end
    for _, period in ipairs({ 'day', 'month', 'total' }) do
      add(spend_key, period .. scope, micros)
    end
  end
end

-- `about` is tenant, agent, the sum of all costs, how many days are kept; `calls` are a list
-- of sums: model, then METRICS. A call without an agent has an empty one.
local function book(day_key, spend_key, about, calls, hashes)
  local tenant, agent, cost, kept_days = unpack(about)
  for _, sums in ipairs(calls) do
    local model = sums[1]
    for number, metric in ipairs(METRICS) do
      local value = sums[number + 1]
      local sum = add(day_key, agent .. '\0' .. model .. '\0' .. metric, value)
      if number == 1 and sum == tonumber(value) then -- the first of that day
        redis.call('HSET', day_key, 'tenant', tenant)
        redis.call('PEXPIREAT', day_key, text((DAYS + 1 + kept_days) * DAY_MS))
      end
      for _, hash in ipairs(hashes) do
        add(hash, 'use\0' .. model .. '\0' .. metric, value)
      end
    end
  end
  if cost ~= '0' then
    add_spent(spend_key, tenant, agent, cost)
  end
end
