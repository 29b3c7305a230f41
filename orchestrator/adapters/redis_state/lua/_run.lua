-- A run and its session: KEYS[9..21], ARGV[4..14], then what take() reads in order.
local RUN, STREAM, STEPS = KEYS[9], KEYS[10], KEYS[11]
local SESSION, MESSAGES, WAIT = KEYS[12], KEYS[13], KEYS[14]
local SESSION_RUNS, EXPIRING, TIMEOUTS, CHILDREN = KEYS[15], KEYS[16], KEYS[17], KEYS[18]
local SPEND, USAGE = KEYS[19], { [ARGV[12]] = KEYS[20], [ARGV[13]] = KEYS[21] } -- by day
local USAGE_DAYS = tonumber(ARGV[14])
local TENANT, SESSION_ID, RUN_ID = ARGV[4], ARGV[5], ARGV[6]
local ABOUT = { tenant = TENANT, channel = ARGV[7], kept = tonumber(ARGV[8]) }
local RUN_TTL_MS, SESSION_TTL_MS, DEAD_KEPT = ARGV[9], ARGV[10], tonumber(ARGV[11])
local TERMINAL = { completed = true, failed = true, cancelled = true }
local LIVE = 'live\0' .. TENANT
local RUN_ENTRY = 'run\0' .. TENANT .. '\0' .. SESSION_ID .. '\0' .. RUN_ID
local SESSION_ENTRY = 'session\0' .. TENANT .. '\0' .. SESSION_ID
local TIMEOUT_ENTRY = TENANT .. '\0' .. SESSION_ID .. '\0' .. RUN_ID
local at = 14

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
  for _, name in ipairs({ 'doc', 'state', 'step', 'attempt', 'charge', 'record', 'agent',
    'parent', 'parent_item', 'dead', 'dead_id' }) do
    moved[name] = take()
  end
  moved.charge = tonumber(moved.charge)
  moved.events = take_list()
  moved.messages = take_list()
  moved.drops = take_list()
  moved.items = take_list(6) -- item, kind, priority, delay, agent, payload
  moved.caller, moved.cost = take(), take() -- the agent's name
  moved.calls = take_list(7)
  return moved
end

local function read(key, names)
  local fields = redis.call('HMGET', key, unpack(names))
  local found = {}
  for number, name in ipairs(names) do
    found[name] = fields[number] or nil
  end
  return found
end

local function read_run()
  return read(RUN, { 'tenant', 'version', 'state', 'created', 'timeout', 'paused', 'since',
    'seq', 'op' })
end

-- `open` has the items of the active run that are not done.
local function read_session()
  local session = read(SESSION, { 'tenant', 'active', 'gone', 'cancel', 'open' })
  session.cancelled = session.cancel == RUN_ID
  session.open = session.active == RUN_ID and session.open and cmsgpack.unpack(session.open) or {}
  return session
end

local function say(messages)
  for _, message in ipairs(messages) do
    redis.call('RPUSH', MESSAGES, message)
  end
end

local function enqueue(session, items)
  for _, entry in ipairs(items) do
    local item, kind, priority, delay_ms, agent, payload = unpack(entry)
    local before = session.open[item] and load(item)
    if before then
      forget(item, before)
    end
    count('order', count_of('order') + 1)
    local member = table.concat(
      { TENANT, priority, string.format('%016d', count_of('order')), item }, '\0')
    local record = { kind = kind, tenant = TENANT, member = member, payload = payload,
      agent = agent, tries = 0 }
    queue_up(item, record, tonumber(delay_ms))
    session.open[item] = 1
  end
end

-- Makes a submitted run its session's active one; `fields` of the session are written along.
local function activate(run_id, messages, items, fields)
  local session = { open = {} }
  enqueue(session, items)
  redis.call('HSET', SESSION, 'active', run_id, 'start', redis.call('LLEN', MESSAGES),
    'open', cmsgpack.pack(session.open), unpack(fields))
  say(messages)
end

local function child_entry(parent)
  return TENANT .. '\0' .. SESSION_ID .. '\0' .. RUN_ID .. '\0' .. parent
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

local function stop_waiting()
  for _, packed in ipairs(redis.call('LRANGE', WAIT, 0, -1)) do
    if cmsgpack.unpack(packed)[1] == RUN_ID then
      redis.call('LREM', WAIT, 1, packed)
    end
  end
end

local function tell_cancelled(run_id)
  redis.call('PUBLISH', 'fleet:cancels', run_id)
end

-- Queues the parent's item that waits for this run.
local function unpark(item)
  local record = load(item)
  if record and record.state == 'parked' and record.child == RUN_ID
    and record.tenant == TENANT then
    record.tries, record.began = 0, nil
    queue_up(item, record, 0)
  end
end

-- Makes what is delayed or parked ready, as the run's cancel is asked: who claims it ends it.
local function hurry(session)
  for item in pairs(session.open) do
    local record = load(item)
    if record and record.state == 'delayed' then
      redis.call('ZREM', DELAYED, item)
      queue_up(item, record, 0)
    elseif record and record.state == 'parked' then
      queue_up(item, record, 0)
    end
  end
end

-- `fields` of the session are written along.
local function end_run(session, moved, fields)
  for _, key in ipairs({ RUN, STREAM, STEPS }) do
    redis.call('PEXPIRE', key, RUN_TTL_MS)
  end
  redis.call('ZADD', EXPIRING, text(NOW + RUN_TTL_MS), RUN_ENTRY)
  count(LIVE, count_of(LIVE) - 1)
  if moved.parent ~= '' then
    redis.call('ZREM', CHILDREN, child_entry(moved.parent))
    unpark(moved.parent_item)
  end
  if session.active ~= RUN_ID then
    redis.call('HSET', SESSION, unpack(fields))
    return stop_waiting()
  end
  for item in pairs(session.open) do
    local record = load(item)
    if record then
      forget(item, record)
    end
  end
  fields[#fields + 1], fields[#fields + 2] = 'cancel', ''
  local following = redis.call('LPOP', WAIT)
  if following then
    local run_id, messages, items = unpack(cmsgpack.unpack(following))
    return activate(run_id, messages, items, fields)
  end
  redis.call('HSET', SESSION, 'active', '', 'open', '', unpack(fields))
  let_session_expire()
end

-- Interrupted time is not counted: a run has no deadline while it is.
local function keep_time(run, state, fields)
  local paused = tonumber(run.paused or 0)
  local function set(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = text(value)
  end
  if run.state == 'interrupted' and state ~= 'interrupted' then
    paused = paused + NOW - tonumber(run.since)
    set('paused', paused)
  elseif run.state ~= 'interrupted' and state == 'interrupted' then
    set('since', NOW)
  end
  if not run.timeout then
    return
  end
  if TERMINAL[state] or state == 'interrupted' then
    redis.call('ZREM', TIMEOUTS, TIMEOUT_ENTRY)
  elseif run.state == 'interrupted' then
    redis.call('ZADD', TIMEOUTS, text(run.created + run.timeout + paused), TIMEOUT_ENTRY)
  end
end

-- The last three keys are those of the dead letters: entries, by tenant, by age. When there
-- are too many, the tenant's own oldest goes: a flood pushes out no other tenant's.
local function bury(moved, worker)
  local entries, of_tenants, by_age = unpack(KEYS, #KEYS - 2)
  local member = TENANT .. '\0' .. moved.dead_id
  if redis.call('ZCARD', by_age) >= DEAD_KEPT then
    local old = redis.call('ZRANGE', of_tenants, '[' .. TENANT .. '\0', '(' .. TENANT .. '\1',
      'BYLEX', 'LIMIT', 0, 1)[1] or redis.call('ZRANGE', by_age, 0, 0)[1]
    redis.call('ZREM', by_age, old)
    redis.call('ZREM', of_tenants, old)
    redis.call('HDEL', entries, old)
  end
  redis.call('HSET', entries, member, cmsgpack.pack({ TENANT, worker or '', text(NOW), moved.dead }))
  redis.call('ZADD', of_tenants, 0, member)
  redis.call('ZADD', by_age, text(NOW), member)
end

local function forget_dropped(session, items)
  for _, item in ipairs(items) do
    local record = load(item)
    if record then
      forget(item, record)
    end
    session.open[item] = nil
  end
end

-- Whether the caller named the key of the day on which there are calls to be booked.
local function is_of_today(moved)
  return #moved.calls == 0 or USAGE[TODAY] ~= nil
end

-- Writes a transition of an accepted run. `more` are further fields of the run.
local function apply(run, session, moved, worker, more)
  local seq = append_after(tonumber(run.seq), STREAM, ABOUT, moved.step, moved.attempt,
    moved.events)
  local fields = { 'doc', moved.doc, 'state', moved.state, 'version', run.version + 1,
    'updated', text(NOW), 'seq', text(seq), unpack(more) }
  keep_time(run, moved.state, fields)
  if TERMINAL[moved.state] then
    fields[#fields + 1], fields[#fields + 2] = 'finished', text(NOW)
  end
  redis.call('HSET', RUN, unpack(fields))
  book(USAGE[TODAY], SPEND, { TENANT, moved.caller, moved.cost, USAGE_DAYS }, moved.calls,
    { RUN, SESSION })
  say(moved.messages)
  if moved.record ~= '' then
    redis.call('RPUSH', STEPS, moved.record)
  end
  if moved.dead_id ~= '' then
    bury(moved, worker)
  end
  forget_dropped(session, moved.drops)
  enqueue(session, moved.items)
  fields = { 'updated', text(NOW) }
  if moved.agent ~= '' then
    fields[3], fields[4] = 'agent', moved.agent
  end
  if TERMINAL[moved.state] then
    return end_run(session, moved, fields)
  end
  redis.call('HSET', SESSION, 'open',
    next(session.open) and cmsgpack.pack(session.open) or '', unpack(fields))
  if session.cancelled then
    hurry(session)
  end
end
