#!lua
-- needs: _time _day _ledger _queue _events _run
-- Accepts a run once: DONE, or AGAIN when it was accepted before. KEYS[22..24]: the tenant's
-- runs, its sessions, the tenants that were here.
local TENANT_RUNS, SESSIONS, TENANTS = KEYS[22], KEYS[23], KEYS[24]
local operation = take()
local is_new, session_agent, session_doc, policy = take() == '1', take(), take(), take()
local timeout_ms = tonumber(take())
local live_limit, waiting_limit = tonumber(take()), tonumber(take())
local moved = take_transition()

local known = redis.call('HMGET', RUN, 'tenant', 'op')
if known[1] then
  return { known[2] == operation and 'DONE' or 'AGAIN', '' }
end
local session = read_session()
if session.gone or (session.tenant and session.tenant ~= TENANT)
  or not (session.tenant or is_new) then
  return { 'NO_SESSION', '' }
end
local busy = (session.active or '') ~= ''
if busy and policy == 'reject' then
  return { 'SESSION_BUSY', session.active }
end
if busy and redis.call('LLEN', WAIT) >= waiting_limit then
  return { 'QUEUE_FULL', 'waiting_runs' }
end
-- A child is let in: its parent, which is counted, waits for it.
fetch({ LIVE, 'order', virtual('reason', TENANT), running('reason', TENANT), floor_of('reason') })
if moved.parent == '' and count_of(LIVE) >= live_limit then
  return { 'QUEUE_FULL', 'live_runs' }
end

local about_session = { 'updated', text(NOW) }
if session.tenant then
  keep_session()
else
  about_session = { 'tenant', TENANT, 'agent', session_agent, 'doc', session_doc,
    'created', text(NOW), 'updated', text(NOW) }
  redis.call('ZADD', SESSIONS, 0, SESSION_ID)
end
local fields = { 'tenant', TENANT, 'doc', moved.doc, 'state', moved.state, 'version', 1,
  'created', text(NOW), 'updated', text(NOW), 'seq', #moved.events, 'op', operation }
append_after(0, STREAM, ABOUT, moved.step, moved.attempt, moved.events)
if timeout_ms > 0 then
  fields[#fields + 1], fields[#fields + 2] = 'timeout', text(timeout_ms)
  redis.call('ZADD', TIMEOUTS, text(NOW + timeout_ms), TIMEOUT_ENTRY)
end
redis.call('HSET', RUN, unpack(fields))
if moved.parent ~= '' then
  redis.call('ZADD', CHILDREN, text(NOW), child_entry(moved.parent))
end
redis.call('ZADD', SESSION_RUNS, 0, RUN_ID)
redis.call('ZADD', TENANT_RUNS, 0, RUN_ID)
redis.call('ZADD', TENANTS, text(NOW), TENANT)
count(LIVE, count_of(LIVE) + 1)
if busy then
  redis.call('RPUSH', WAIT, cmsgpack.pack({ RUN_ID, moved.messages, moved.items }))
  if policy == 'interrupt' then
    about_session[#about_session + 1] = 'cancel'
    about_session[#about_session + 1] = session.active
    tell_cancelled(session.active)
    local open = redis.call('HGET', SESSION, 'open')
    hurry({ open = open ~= '' and cmsgpack.unpack(open) or {} })
  end
  redis.call('HSET', SESSION, unpack(about_session))
else
  activate(RUN_ID, moved.messages, moved.items, about_session)
end
finish()
return { 'DONE', busy and session.active or '' }
