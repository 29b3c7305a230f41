-- The items and the fair queue of one shard: KEYS[1..8], ARGV[1..3].
-- ITEMS holds a record of each open item: kind, tenant, member, payload; state (queued,
-- delayed, parked, leased), since when it is or will be ready, tries, began (an attempt of it
-- did), agent (of an inference, by name), barred (how often in a row a budget put it off); of
-- a lease: nonce, extra (what its claim charged), held (what it reserved of budgets), said (its
-- last emit; none before it began), worker; given (the nonce that gave it back), child (the
-- run it is parked on).
-- A queue's members are tenant, priority (0 high, 1 normal), order, item, so one sorted set
-- holds a queue for each tenant. READY holds the tenants that may be served, by their
-- virtual counters, which are in COUNTERS with what else is counted for a tenant.
local QUEUE = { reason = KEYS[1], tool = KEYS[2] }
local READY = { reason = KEYS[3], tool = KEYS[4] }
local COUNTERS, LEASES, ITEMS, DELAYED = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local RUNNING_LIMIT = tonumber(ARGV[1])
local WEIGHTS = ARGV[2] == '' and {} or cjson.decode(ARGV[2])
local SHARD = ARGV[3]
local HOLD = { reason = 100, tool = 1 }
local NORMAL_TURN = 4
local PROMOTED_AT_ONCE = 100
local BARRED_MS, BARRED_MOST_MS, BARRED_AT_ONCE = 100, 3200, 16
local woken = {}

local function virtual(kind, tenant)
  return 'virtual\0' .. kind .. '\0' .. tenant
end

local function floor_of(kind)
  return 'floor\0' .. kind
end

local function running(kind, tenant)
  return 'running\0' .. kind .. '\0' .. tenant
end

local function served(kind, tenant)
  return 'served\0' .. kind .. '\0' .. tenant
end

-- What leases hold of a budget; the tenant's own has an empty agent.
local function reserved(tenant, agent)
  return 'reserved\0' .. tenant .. '\0' .. agent
end

-- Counters are read once and written at the end, by `finish`.
local known, changed = {}, {}

local function fetch(fields)
  local values = redis.call('HMGET', COUNTERS, unpack(fields))
  for number, field in ipairs(fields) do
    known[field] = known[field] or tonumber(values[number] or 0)
  end
end

local function count_of(field)
  if not known[field] then
    known[field] = tonumber(redis.call('HGET', COUNTERS, field) or 0)
  end
  return known[field]
end

local function count(field, value)
  known[field], changed[field] = value, true
end

local function fetch_counters_of(kind, tenant)
  fetch({ virtual(kind, tenant), running(kind, tenant), served(kind, tenant), floor_of(kind) })
end

local function load(item)
  local packed = redis.call('HGET', ITEMS, item)
  return packed and cmsgpack.unpack(packed)
end

local function save(item, record)
  redis.call('HSET', ITEMS, item, cmsgpack.pack(record))
end

local function holds(record, nonce)
  return record and record.state == 'leased' and record.nonce == nonce
end

local function share(tenant, tokens)
  return tokens / (WEIGHTS[tenant] or 1)
end

local function first(kind, prefix)
  return redis.call('ZRANGE', QUEUE[kind], '[' .. prefix .. '\0', '(' .. prefix .. '\1',
    'BYLEX', 'LIMIT', 0, 1)[1]
end

-- A tenant is ready while it has items queued and may run more. Whoever works looks until
-- READY is empty, so only its first tenant is news.
local function make_ready(kind, tenant)
  local counter = text(count_of(virtual(kind, tenant)))
  if count_of(running(kind, tenant)) < RUNNING_LIMIT
    and redis.call('ZADD', READY[kind], counter, tenant) == 1
    and redis.call('ZCARD', READY[kind]) == 1 then
    woken[kind] = true
  end
end

-- A tenant's counter without what claims charged for items that are still running.
local function settled(kind, tenant)
  return count_of(virtual(kind, tenant))
    - count_of(running(kind, tenant)) * share(tenant, HOLD[kind])
end

local function make_unready(kind, tenant)
  if redis.call('ZREM', READY[kind], tenant) == 1 then
    count(floor_of(kind), settled(kind, tenant))
  end
end

local function push(kind, tenant, member)
  if not first(kind, tenant) then
    local ahead = redis.call('ZRANGE', READY[kind], 0, 0)[1]
    local least = ahead and settled(kind, ahead) or count_of(floor_of(kind))
    count(virtual(kind, tenant), math.max(count_of(virtual(kind, tenant)), least))
    redis.call('ZADD', QUEUE[kind], 0, member)
    make_ready(kind, tenant)
  else
    redis.call('ZADD', QUEUE[kind], 0, member)
  end
end

-- Reserves so much more; below zero: so much less.
local function hold(tenant, agent, micros)
  for _, name in ipairs(agent == '' and { '' } or { '', agent }) do
    count(reserved(tenant, name), count_of(reserved(tenant, name)) + micros)
  end
end

-- Makes an item ready that is neither queued, delayed nor leased, now or after a delay.
local function queue_up(item, record, delay_ms)
  record.since = NOW + delay_ms
  record.child = nil
  if delay_ms > 0 then
    record.state = 'delayed'
    redis.call('ZADD', DELAYED, text(record.since), item)
    save(item, record)
  else
    record.state = 'queued'
    save(item, record)
    push(record.kind, record.tenant, record.member)
  end
end

-- Makes delayed items ready whose time has come.
local function promote()
  local due = redis.call('ZRANGE', DELAYED, '-inf', text(NOW), 'BYSCORE',
    'LIMIT', 0, PROMOTED_AT_ONCE)
  for _, item in ipairs(due) do
    local record = load(item)
    redis.call('ZREM', DELAYED, item)
    record.state = 'queued'
    save(item, record)
    push(record.kind, record.tenant, record.member)
  end
end

local function pick(kind, tenant)
  local member = first(kind, tenant)
  if string.sub(member, #tenant + 2, #tenant + 2) == '1' then
    return member
  end
  local normal = first(kind, tenant .. '\0001')
  if not normal then
    return member
  end
  local turn = 'turn\0' .. kind .. '\0' .. tenant
  count(turn, count_of(turn) + 1)
  return count_of(turn) % NORMAL_TURN == 0 and normal or member
end

-- Puts an item off that a budget bars: its agent's, until later; its tenant's, until an item
-- of it ends. A tenant with many of the first kind lets others go first in this claim.
local passed_over, put_off = {}, {}

local function put_aside(kind, tenant, member, item, record, whose)
  if whose == '' then
    return make_unready(kind, tenant)
  end
  record.barred = (record.barred or 0) + 1
  local delay_ms = math.min(BARRED_MS * 2 ^ (record.barred - 1), BARRED_MOST_MS)
  redis.call('ZREM', QUEUE[kind], member)
  queue_up(item, record, delay_ms + math.random(0, delay_ms / 2))
  put_off[tenant] = (put_off[tenant] or 0) + 1
  if put_off[tenant] >= BARRED_AT_ONCE or not first(kind, tenant) then
    make_unready(kind, tenant)
    passed_over[tenant] = true
  end
end

-- Those that were passed over are looked at by the next claim.
local function look_again(kind)
  for tenant in pairs(passed_over) do
    if first(kind, tenant) then
      make_ready(kind, tenant)
    end
  end
end

-- Leases the next item of the tenant that was served least. `admit` says what bars an item
-- (nothing, or whose budget does) and what it holds of budgets.
local function lease_next(kind, nonce, worker, expires, admit)
  local tenant, counter, member, item, record, whose, held
  repeat
    tenant, counter = unpack(redis.call('ZRANGE', READY[kind], 0, 0, 'WITHSCORES'))
    if not tenant then
      return nil
    end
    member = pick(kind, tenant)
    item = string.sub(member, #tenant + 21) -- which may hold any character
    record = load(item)
    whose, held = admit(record)
    if whose then
      put_aside(kind, tenant, member, item, record, whose)
    end
  until not whose
  record.state, record.nonce, record.worker, record.said = 'leased', nonce, worker, nil
  record.extra = share(tenant, HOLD[kind])
  record.tries, record.barred = record.tries + 1, nil
  if held then
    record.held = held
    hold(tenant, record.agent, held)
  end
  save(item, record)
  redis.call('ZREM', QUEUE[kind], member)
  redis.call('ZADD', LEASES, expires, item)
  count(virtual(kind, tenant), tonumber(counter) + record.extra)
  count(running(kind, tenant), count_of(running(kind, tenant)) + 1)
  if count_of(running(kind, tenant)) < RUNNING_LIMIT and first(kind, tenant) then
    redis.call('ZADD', READY[kind], text(count_of(virtual(kind, tenant))), tenant)
  else
    make_unready(kind, tenant)
  end
  return record
end

-- Ends an item's lease. No charge leaves what its claim charged.
local function end_lease(item, record, charge)
  local kind, tenant = record.kind, record.tenant
  if not known[virtual(kind, tenant)] then
    fetch_counters_of(kind, tenant)
  end
  redis.call('ZREM', LEASES, item)
  if charge then
    charge = math.max(charge, 1)
    count(virtual(kind, tenant),
      count_of(virtual(kind, tenant)) + share(tenant, charge) - record.extra)
    count(served(kind, tenant), count_of(served(kind, tenant)) + charge)
  end
  count(running(kind, tenant), count_of(running(kind, tenant)) - 1)
  if record.held then
    hold(tenant, record.agent, -record.held)
  end
  record.state, record.nonce, record.extra, record.said, record.held = nil, nil, nil, nil, nil
  if first(kind, tenant) then
    make_ready(kind, tenant)
  end
end

-- Removes an item, whatever it is doing.
local function forget(item, record, charge)
  if record.state == 'leased' then
    end_lease(item, record, charge)
  elseif record.state == 'queued' then
    redis.call('ZREM', QUEUE[record.kind], record.member)
    if not first(record.kind, record.tenant) then
      make_unready(record.kind, record.tenant)
    end
  elseif record.state == 'delayed' then
    redis.call('ZREM', DELAYED, item)
  end
  redis.call('HDEL', ITEMS, item)
end

-- Counters of what is open go at zero.
local OPEN = { '^running', '^live', '^reserved' }

local function is_over(field)
  for _, name in ipairs(OPEN) do
    if known[field] == 0 and string.find(field, name) then
      return true
    end
  end
end

-- Writes the counters and tells workers of new work.
local function finish()
  local set, gone = {}, {}
  for field in pairs(changed) do
    if is_over(field) then
      gone[#gone + 1] = field
    else
      set[#set + 1] = field
      set[#set + 1] = text(known[field])
    end
  end
  if #set > 0 then
    redis.call('HSET', COUNTERS, unpack(set))
  end
  if #gone > 0 then
    redis.call('HDEL', COUNTERS, unpack(gone))
  end
  for kind in pairs(woken) do
    redis.call('PUBLISH', 'fleet:work:' .. kind, SHARD)
  end
end
