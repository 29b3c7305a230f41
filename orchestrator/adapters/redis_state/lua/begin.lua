#!lua
-- needs: _time _events _ended
-- Begins a claimed item: returns its run, whether that is to end now, and the session's
-- newest messages; nothing when the lease or the run is gone.
-- KEYS: items, run, stream, session, messages, and the parent run of a child's.
-- Writes nothing when repeated: the lease says that it began.
local ITEMS, RUN, STREAM, SESSION, MESSAGES = unpack(KEYS, 1, 5)
local item, nonce, tenant, run_id, step, attempt = unpack(ARGV, 1, 6)
local about = { tenant = tenant, channel = ARGV[7], kept = tonumber(ARGV[8]) }
local running, restarted, history = ARGV[9], ARGV[10], tonumber(ARGV[11])

local packed = redis.call('HGET', ITEMS, item)
local record = packed and cmsgpack.unpack(packed)
if not record or record.nonce ~= nonce then
  return false
end
local owner, state = unpack(redis.call('HMGET', RUN, 'tenant', 'state'))
if owner ~= tenant then
  return false
end
if not record.said then
  local events = {}
  if state == 'queued' then
    redis.call('HSET', RUN, 'state', 'running', 'updated', text(NOW))
    events[1] = running
  end
  if record.kind == 'reason' and record.began and record.tries > 1 then
    events[#events + 1] = restarted
  end
  append(RUN, STREAM, about, step, attempt, events)
  record.said, record.began = 0, 1
  redis.call('HSET', ITEMS, item, cmsgpack.pack(record))
end
local cancelled = redis.call('HGET', SESSION, 'cancel') == run_id or ended(KEYS[6], tenant)
local fields = redis.call('HMGET', RUN, 'tenant', 'doc', 'state', 'version', 'created', 'updated',
  'finished', 'paused')
if state == 'interrupted' then -- its pause counts while it lasts, too
  fields[8] = text((fields[8] or 0) + NOW - redis.call('HGET', RUN, 'since'))
end
return {
  fields,
  cancelled and 1 or 0,
  history > 0 and redis.call('LRANGE', MESSAGES, -history, -1) or {},
}
