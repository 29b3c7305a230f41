-- The fair queue of one shard: KEYS[1..10], ARGV[1..3].
-- A queue's members are tenant, priority (0 high, 1 normal), order, item, so one
-- sorted set holds a queue for each tenant. READY holds the tenants that may be
-- served, by their counters; HELD a lease for each item that is running.
local QUEUE = { reason = KEYS[1], tool = KEYS[2] }
local READY = { reason = KEYS[3], tool = KEYS[4] }
local COUNTERS, RUNNING, LEASES = KEYS[5], KEYS[6], KEYS[7]
local ITEMS, HELD, ATTEMPTS = KEYS[8], KEYS[9], KEYS[10]
local RUNNING_LIMIT = tonumber(ARGV[1])
local WEIGHTS = ARGV[2] == '' and {} or cjson.decode(ARGV[2])
local SHARD = ARGV[3]
local HOLD = { reason = 100, tool = 1 }
local NORMAL_TURN = 4
local woken = {}

local function counter_of(kind, tenant)
  return tonumber(redis.call('HGET', COUNTERS, kind .. '\0' .. tenant) or 0)
end

local function set_counter(kind, tenant, counter)
  redis.call('HSET', COUNTERS, kind .. '\0' .. tenant, text(counter))
end

local function share(tenant, tokens)
  return tokens / (WEIGHTS[tenant] or 1)
end

local function first(kind, prefix)
  return redis.call('ZRANGE', QUEUE[kind], '[' .. prefix .. '\0', '(' .. prefix .. '\1',
    'BYLEX', 'LIMIT', 0, 1)[1]
end

local function settle(kind, tenant)
  local running = tonumber(redis.call('HGET', RUNNING, kind .. '\0' .. tenant) or 0)
  local counter = counter_of(kind, tenant)
  if running < RUNNING_LIMIT and first(kind, tenant) then
    if redis.call('ZADD', READY[kind], text(counter), tenant) == 1 then
      woken[kind] = true
    end
  elseif redis.call('ZREM', READY[kind], tenant) == 1 then
    set_counter(kind, '', counter)
  end
end

local function push(kind, tenant, member)
  if not first(kind, tenant) then
    local least = redis.call('ZRANGE', READY[kind], 0, 0, 'WITHSCORES')[2]
    least = least and tonumber(least) or counter_of(kind, '')
    set_counter(kind, tenant, math.max(counter_of(kind, tenant), least))
  end
  redis.call('ZADD', QUEUE[kind], 0, member)
  settle(kind, tenant)
  woken[kind] = true
end

local function pick(kind, tenant)
  local high, normal = first(kind, tenant .. '\0000'), first(kind, tenant .. '\0001')
  if high and normal then
    local turn = redis.call('HINCRBY', COUNTERS, 'turn\0' .. kind .. '\0' .. tenant, 1)
    return turn % NORMAL_TURN == 0 and normal or high
  end
  return high or normal
end

-- Leases the next item of the tenant that was served least.
local function lease_next(kind, nonce, worker, expires)
  local tenant = redis.call('ZRANGE', READY[kind], 0, 0)[1]
  if not tenant then
    return nil
  end
  local member = pick(kind, tenant)
  local item = string.match(member, '[^%z]*$')
  local extra = share(tenant, HOLD[kind])
  redis.call('ZREM', QUEUE[kind], member)
  redis.call('HSET', HELD, item, cmsgpack.pack({ nonce, extra, -1, worker }))
  redis.call('ZADD', LEASES, text(expires), item)
  redis.call('HINCRBY', RUNNING, kind .. '\0' .. tenant, 1)
  set_counter(kind, tenant, counter_of(kind, tenant) + extra)
  settle(kind, tenant)
  return item, tenant, redis.call('HINCRBY', ATTEMPTS, item, 1)
end

local function record_of(item)
  local packed = redis.call('HGET', ITEMS, item)
  if packed then
    return unpack(cmsgpack.unpack(packed)) -- kind, tenant, member, payload
  end
end

-- Ends an item's running. No charge leaves what its claim charged.
local function release(item, kind, tenant, charge)
  local extra = cmsgpack.unpack(redis.call('HGET', HELD, item))[2]
  redis.call('HDEL', HELD, item)
  redis.call('ZREM', LEASES, item)
  if charge then
    local due = share(tenant, math.max(charge, 1)) - extra
    set_counter(kind, tenant, counter_of(kind, tenant) + due)
  end
  if redis.call('HINCRBY', RUNNING, kind .. '\0' .. tenant, -1) <= 0 then
    redis.call('HDEL', RUNNING, kind .. '\0' .. tenant)
  end
  settle(kind, tenant)
end

-- Removes an item, whether it is queued or leased.
local function forget(item, charge)
  local kind, tenant, member = record_of(item)
  if not kind then
    return
  end
  if redis.call('HEXISTS', HELD, item) == 1 then
    release(item, kind, tenant, charge)
  else
    redis.call('ZREM', QUEUE[kind], member)
    settle(kind, tenant)
  end
  redis.call('HDEL', ITEMS, item)
  redis.call('HDEL', ATTEMPTS, item)
end

-- Tells workers of new work; the caller gets to know it by the reply.
local function wake()
  local kinds = {}
  for kind in pairs(woken) do
    redis.call('PUBLISH', 'fleet:work:' .. kind, SHARD)
    kinds[#kinds + 1] = kind
  end
  return kinds
end
