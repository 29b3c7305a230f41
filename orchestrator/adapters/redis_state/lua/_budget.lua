-- Whether a step may be begun, by what is spent (SPEND) and reserved (COUNTERS). BUDGETS has
-- the rules of this shard: of tenants (t, else d) and of agents (a), each limit and period.

local function rules_of(budgets, tenant, agent)
  local rules = {}
  local of_tenant = budgets.t[tenant] or budgets.d
  if of_tenant then
    rules[1] = { '', unpack(of_tenant) }
  end
  local of_agent = agent ~= '' and (budgets.a[tenant .. '/' .. agent] or budgets.a[agent])
  if of_agent then
    rules[#rules + 1] = { agent, unpack(of_agent) }
  end
  return rules
end

local looked_up = {}

-- What is spent in the period; nil when that can't be read.
local function spent_of(spend_key, tenant, name, period)
  local scope = '\0' .. tenant .. '\0' .. name
  if not looked_up[period .. scope] then
    looked_up[period .. scope] = redis.pcall('HMGET', spend_key, 'on' .. scope, period .. scope)
  end
  local found = looked_up[period .. scope]
  if found.err then
    return nil
  end
  local on, spent = found[1] or '', found[2] or '0'
  local ended = period == 'day' and on < TODAY
    or period == 'month' and string.sub(on, 1, 7) < string.sub(TODAY, 1, 7)
  return ended and 0 or tonumber(spent)
end

-- Says what bars a step that may cost so much: OVER, a budget is spent (or can't be read);
-- WAIT, reservations stand in its way; nil, nothing does. Then whose budget that is, or
-- whether there is one.
local function barred(budgets, spend_key, tenant, agent, micros)
  local rules = rules_of(budgets, tenant, agent)
  local waits_for
  for _, rule in ipairs(rules) do
    local name, limit, period = unpack(rule)
    local spent = spent_of(spend_key, tenant, name, period)
    if not spent or spent >= limit then
      return 'OVER', name, spent and 1 or 0
    end
    local held = count_of(reserved(tenant, name))
    if held > 0 and spent + held + micros > limit then
      waits_for = waits_for or name
    end
  end
  if waits_for then
    return 'WAIT', waits_for
  end
  return nil, #rules > 0
end
