-- Adds calls of models to the ledger: to the day, to what budgets count, and to the hashes
-- that are named. Numbers of Lua are doubles: what is larger than they hold exactly is left to
-- HINCRBY, which does up to 2^63.
-- SPEND holds of each tenant and of each of its agents what was spent on the day and in the
-- month of its last call (`on`), and in all.
local METRICS = { 'calls', 'cached', 'prompt', 'cached_prompt', 'completion', 'cost' }
local PERIODS = { 'day', 'month', 'total' }
local EXACT, MOST = 2 ^ 53, '9223372036854775807'

-- What can't be added is the most there is: no budget allows more. A script can't be undone.
local function add_large(key, field, number)
  if type(redis.pcall('HINCRBY', key, field, number)) == 'table' then
    redis.pcall('HSET', key, field, MOST)
  end
end

-- Adds to fields whose values are `before`; `also` is set along.
local function add_to(key, fields, before, numbers, also)
  local set = also
  for number, field in ipairs(fields) do
    local old = tonumber(before[number] or '0')
    local sum = old and old >= 0 and old + tonumber(numbers[number])
    if not sum or sum > EXACT then
      add_large(key, field, numbers[number])
    elseif numbers[number] ~= '0' then
      set[#set + 1], set[#set + 2] = field, text(sum)
    end
  end
  if #set > 0 then
    redis.pcall('HSET', key, unpack(set))
  end
end

-- A key that is no hash has nothing to be read, and stays what it is.
local function values_of(key, fields)
  local found = redis.pcall('HMGET', key, unpack(fields))
  return found.err and {} or found
end

local function fields_of(prefix, names, suffix)
  local fields = {}
  for number, name in ipairs(names) do
    fields[number] = prefix .. name .. suffix
  end
  return fields
end

local function add_spent(spend_key, tenant, agent, micros)
  for _, name in ipairs(agent == '' and { '' } or { '', agent }) do
    local scope = '\0' .. tenant .. '\0' .. name
    local fields = fields_of('', PERIODS, scope)
    local before = values_of(spend_key, { 'on' .. scope, unpack(fields) })
    local on = table.remove(before, 1) or ''
    local also = {}
    if on < TODAY then
      also = { 'on' .. scope, TODAY }
      before[1] = '0'
      if string.sub(on, 1, 7) < string.sub(TODAY, 1, 7) then
        before[2] = '0'
      end
    end
    add_to(spend_key, fields, before, { micros, micros, micros }, also)
  end
end

-- `about` is tenant, agent, the sum of all costs, how many days are kept; `calls` are a list
-- of sums: model, then METRICS. A call without an agent has an empty one.
local function book(day_key, spend_key, about, calls, hashes)
  local tenant, agent, cost, kept_days = unpack(about)
  for _, sums in ipairs(calls) do
    local model = table.remove(sums, 1)
    local fields = fields_of(agent .. '\0' .. model .. '\0', METRICS, '')
    local before = values_of(day_key, fields)
    local is_first = not before[1]
    add_to(day_key, fields, before, sums, is_first and { 'tenant', tenant } or {})
    if is_first then
      redis.call('PEXPIREAT', day_key, text((DAYS + 1 + kept_days) * DAY_MS))
    end
    fields = fields_of('use\0' .. model .. '\0', METRICS, '')
    for _, hash in ipairs(hashes) do
      add_to(hash, fields, values_of(hash, fields), sums, {})
    end
  end
  if cost ~= '0' then
    add_spent(spend_key, tenant, agent, cost)
  end
end
