-- A run and its session: KEYS[11..24], ARGV[4..11], then what take() reads in order.
local RUN, STREAM, STEPS, OPEN = KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local SESSION, MESSAGES, WAIT, WAITING = KEYS[15], KEYS[16], KEYS[17], KEYS[18]
local EXPIRING, LIVE, DEAD = KEYS[19], KEYS[20], KEYS[21]
local SESSION_RUNS, TENANT_RUNS, SESSIONS = KEYS[22], KEYS[23], KEYS[24]
local TENANT, SESSION_ID, RUN_ID = ARGV[4], ARGV[5], ARGV[6]
local ABOUT = { tenant = TENANT, channel = ARGV[7], kept = ARGV[8] }
local RUN_TTL_MS, SESSION_TTL_MS, DEAD_KEPT = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11]
local TERMINAL = { completed = true, failed = true, cancelled = true }
local RUN_ENTRY = 'run\0' .. TENANT .. '\0' .. SESSION_ID .. '\0' .. RUN_ID
local SESSION_ENTRY = 'session\0' .. TENANT .. '\0' .. SESSION_ID
local at = 11

local function take()
  at = at + 1
  return ARGV[at]
end

local function take_list(width)
  local list = {}
  for number = 1, tonumber(take()) do
    if width then
      list[number] = {}
      for column = 1, width do
        list[number][column] = take()
      end
    else
      list[number] = take()
    end
  end
  return list
end

local function take_transition()
  local moved = {}
  for _, name in ipairs({ 'doc', 'state', 'step', 'attempt', 'charge', 'dead', 'record' }) do
    moved[name] = take()
  end
  moved.charge = tonumber(moved.charge)
  moved.events = take_list()
  moved.messages = take_list()
  moved.items = take_list(4) -- item, kind, priority, payload
  return moved
end

local function say(messages)
  for _, message in ipairs(messages) do
    redis.call('RPUSH', MESSAGES, message)
  end
end

local function enqueue(items)
  for _, entry in ipairs(items) do
    local item, kind, priority, payload = unpack(entry)
    local order = redis.call('HINCRBY', COUNTERS, 'order', 1)
    local member = table.concat(
      { TENANT, priority, string.format('%016d', order), item }, '\0')
    redis.call('HSET', ITEMS, item, cmsgpack.pack({ kind, TENANT, member, payload }))
    redis.call('SADD', OPEN, item)
    push(kind, TENANT, member)
  end
end

-- Makes a submitted run its session's active one.
local function activate(run_id, messages, items)
  redis.call('HSET', SESSION, 'active', run_id, 'start', redis.call('LLEN', MESSAGES))
  say(messages)
  enqueue(items)
end

local SESSION_KEYS = { SESSION, MESSAGES, SESSION_RUNS }

local function keep_session()
  for _, key in ipairs(SESSION_KEYS) do
    redis.call('PERSIST', key)
  end
  redis.call('ZREM', EXPIRING, SESSION_ENTRY)
end

local function let_session_expire()
  for _, key in ipairs(SESSION_KEYS) do
    redis.call('PEXPIRE', key, SESSION_TTL_MS)
  end
  redis.call('ZADD', EXPIRING, text(NOW + SESSION_TTL_MS), SESSION_ENTRY)
end

local function end_run()
  for _, key in ipairs({ RUN, STREAM, STEPS }) do
    redis.call('PEXPIRE', key, RUN_TTL_MS)
  end
  redis.call('ZADD', EXPIRING, text(NOW + RUN_TTL_MS), RUN_ENTRY)
  if redis.call('HINCRBY', LIVE, TENANT, -1) <= 0 then
    redis.call('HDEL', LIVE, TENANT)
  end
  if redis.call('HGET', SESSION, 'active') ~= RUN_ID then
    return
  end
  for _, item in ipairs(redis.call('SMEMBERS', OPEN)) do
    forget(item)
  end
  redis.call('DEL', OPEN)
  redis.call('HSET', SESSION, 'active', '')
  redis.call('HDEL', SESSION, 'cancel')
  local following = redis.call('LPOP', WAIT)
  if not following then
    return let_session_expire()
  end
  local messages, items = unpack(cmsgpack.unpack(redis.call('HGET', WAITING, following)))
  redis.call('HDEL', WAITING, following)
  activate(following, messages, items)
end

local function apply(moved)
  redis.call('HSET', RUN, 'doc', moved.doc, 'state', moved.state, 'updated', text(NOW))
  redis.call('HINCRBY', RUN, 'version', 1)
  redis.call('HSET', SESSION, 'updated', text(NOW))
  say(moved.messages)
  if moved.record ~= '' then
    redis.call('RPUSH', STEPS, moved.record)
  end
  if moved.dead ~= '' then
    redis.call('XADD', DEAD, 'MAXLEN', DEAD_KEPT, '*', 'tenant', TENANT, 'run_id', RUN_ID,
      'cause', moved.dead)
  end
  append(RUN, STREAM, ABOUT, moved.step, moved.attempt, moved.events)
  enqueue(moved.items)
  if TERMINAL[moved.state] then
    redis.call('HSET', RUN, 'finished', text(NOW))
    end_run()
  end
end
