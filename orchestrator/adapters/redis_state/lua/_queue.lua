-- The items and the fair queue of one shard: KEYS[1..8], ARGV[1..3].
-- ITEMS holds a record of each open item: kind, tenant, member, payload; state (queued,
-- delayed, parked, leased), since when it is or will be ready, tries, began (an attempt of it
-- did); of a lease: nonce, extra (what its claim charged), said (its last emit; none before
-- it began), worker; given (the nonce that gave it back), child (the run it is parked on).
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

-- Whoever works looks until READY is empty, so only its first tenant is news.
local function make_ready(kind, tenant, counter)
  if redis.call('ZADD', READY[kind], counter, tenant) == 1
    and redis.call('ZCARD', READY[kind]) == 1 then
    woken[kind] = true
  end
end

local function make_unready(kind, tenant, counter)
  if redis.call('ZREM', READY[kind], tenant) == 1 then
    redis.call('HSET', COUNTERS, floor_of(kind), counter)
  end
end

-- A tenant is ready while it has items queued and may run more.
local function settle(kind, tenant)
  local count, counter = unpack(
    redis.call('HMGET', COUNTERS, running(kind, tenant), virtual(kind, tenant)))
  counter = counter or '0'
  if tonumber(count or 0) < RUNNING_LIMIT and first(kind, tenant) then
    make_ready(kind, tenant, counter)
  else
    make_unready(kind, tenant, counter)
  end
end

local function push(kind, tenant, member)
  if first(kind, tenant) then
    redis.call('ZADD', QUEUE[kind], 0, member)
    return
  end
  local least = redis.call('ZRANGE', READY[kind], 0, 0, 'WITHSCORES')[2]
  local counter, floor, count = unpack(redis.call('HMGET', COUNTERS,
    virtual(kind, tenant), floor_of(kind), running(kind, tenant)))
  counter = math.max(tonumber(counter or 0), tonumber(least or floor or 0))
  redis.call('HSET', COUNTERS, virtual(kind, tenant), text(counter))
  redis.call('ZADD', QUEUE[kind], 0, member)
  if tonumber(count or 0) < RUNNING_LIMIT then
    make_ready(kind, tenant, text(counter))
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
  local turn = redis.call('HINCRBY', COUNTERS, 'turn\0' .. kind .. '\0' .. tenant, 1)
  return turn % NORMAL_TURN == 0 and normal or member
end

-- Leases the next item of the tenant that was served least.
local function lease_next(kind, nonce, worker, expires)
  local tenant, counter = unpack(redis.call('ZRANGE', READY[kind], 0, 0, 'WITHSCORES'))
  if not tenant then
    return nil
  end
  local member = pick(kind, tenant)
  local item = string.match(member, '[^%z]*$')
  local record = load(item)
  record.state, record.nonce, record.worker, record.said = 'leased', nonce, worker, nil
  record.extra = share(tenant, HOLD[kind])
  record.tries = record.tries + 1
  save(item, record)
  redis.call('ZREM', QUEUE[kind], member)
  redis.call('ZADD', LEASES, expires, item)
  counter = text(tonumber(counter) + record.extra)
  redis.call('HSET', COUNTERS, virtual(kind, tenant), counter)
  local count = redis.call('HINCRBY', COUNTERS, running(kind, tenant), 1)
  if count < RUNNING_LIMIT and first(kind, tenant) then
    redis.call('ZADD', READY[kind], counter, tenant)
  else
    make_unready(kind, tenant, counter)
  end
  return record
end

-- Ends an item's lease. No charge leaves what its claim charged.
local function end_lease(item, record, charge)
  local kind, tenant = record.kind, record.tenant
  redis.call('ZREM', LEASES, item)
  if charge then
    charge = math.max(charge, 1)
    local counter = tonumber(redis.call('HGET', COUNTERS, virtual(kind, tenant)) or 0)
    redis.call('HSET', COUNTERS, virtual(kind, tenant),
      text(counter + share(tenant, charge) - record.extra))
    redis.call('HINCRBY', COUNTERS, served(kind, tenant), charge)
  end
  if redis.call('HINCRBY', COUNTERS, running(kind, tenant), -1) <= 0 then
    redis.call('HDEL', COUNTERS, running(kind, tenant))
  end
  record.state, record.nonce, record.extra, record.said = nil, nil, nil, nil
  settle(kind, tenant)
end

-- Removes an item, whatever it is doing.
local function forget(item, record, charge)
  if record.state == 'leased' then
    end_lease(item, record, charge)
  elseif record.state == 'queued' then
    redis.call('ZREM', QUEUE[record.kind], record.member)
    settle(record.kind, record.tenant)
  elseif record.state == 'delayed' then
    redis.call('ZREM', DELAYED, item)
  end
  redis.call('HDEL', ITEMS, item)
end

-- Tells workers of new work.
local function wake()
  for kind in pairs(woken) do
    redis.call('PUBLISH', 'fleet:work:' .. kind, SHARD)
  end
end
