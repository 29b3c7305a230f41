#!lua
-- needs: _time _queue _events _run
-- Accepts a run once: DONE, or AGAIN when it was accepted before.
local is_new, session_doc, policy = take() == '1', take(), take()
local live_limit, waiting_limit = tonumber(take()), tonumber(take())
local moved = take_transition()

if redis.call('EXISTS', RUN) == 1 then
  return { 'AGAIN', {}, '' }
end
local owner, active, gone = unpack(redis.call('HMGET', SESSION, 'tenant', 'active', 'gone'))
if gone or (owner and owner ~= TENANT) or not (owner or is_new) then
  return { 'NO_SESSION', {}, '' }
end
local busy = active and active ~= ''
if busy and policy == 'reject' then
  return { 'SESSION_BUSY', {}, active }
end
if redis.call('LLEN', WAIT) >= waiting_limit then
  return { 'QUEUE_FULL', {}, 'waiting_runs' }
end
if tonumber(redis.call('HGET', LIVE, TENANT) or 0) >= live_limit then
  return { 'QUEUE_FULL', {}, 'live_runs' }
end

if not owner then
  redis.call('HSET', SESSION, 'tenant', TENANT, 'doc', session_doc, 'created', text(NOW))
  redis.call('ZADD', SESSIONS, 0, SESSION_ID)
end
redis.call('HSET', SESSION, 'updated', text(NOW))
redis.call('HSET', RUN, 'tenant', TENANT, 'doc', moved.doc, 'state', moved.state,
  'version', 1, 'seq', 0, 'created', text(NOW), 'updated', text(NOW))
redis.call('ZADD', SESSION_RUNS, 0, RUN_ID)
redis.call('ZADD', TENANT_RUNS, 0, RUN_ID)
redis.call('HINCRBY', LIVE, TENANT, 1)
keep_session()
append(RUN, STREAM, ABOUT, moved.step, moved.attempt, moved.events)
if busy then
  redis.call('RPUSH', WAIT, RUN_ID)
  redis.call('HSET', WAITING, RUN_ID, cmsgpack.pack({ moved.messages, moved.items }))
  if policy == 'interrupt' then
    redis.call('HSET', SESSION, 'cancel', active)
  end
else
  activate(RUN_ID, moved.messages, moved.items)
end
return { 'DONE', wake(), busy and active or '' }
