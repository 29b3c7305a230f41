#!lua flags=allow-oom
-- needs: _time _day _ledger _queue _events _ended _run
-- Writes an item's outcome once: DONE, STALE, VERSION when the run changed meanwhile,
-- or DAY when that is another than the caller knows.
-- KEYS[22] is the run that the item is parked on, if any.
local item, nonce, version, parked_on = take(), take(), take(), take()
local emitted = take_list()
local moved = take_transition()

local run = read_run()
local record = load(item)
if run.tenant ~= TENANT then
  return 'STALE'
end
if not holds(record, nonce) then
  return redis.call('HEXISTS', RUN, 'done\0' .. nonce) == 1 and 'DONE' or 'STALE'
end
if run.version ~= version then
  return 'VERSION'
end
if not is_of_today(moved) then
  return 'DAY'
end

fetch({ LIVE, 'order' })
local session, worker = read_session(), record.worker
local more = { 'done\0' .. nonce, '' }
if parked_on ~= '' then
  end_lease(item, record, moved.charge)
  record.tries, record.began = 0, nil
  if ended(KEYS[22], TENANT) then
    queue_up(item, record, 0)
  else
    record.state, record.child = 'parked', parked_on
    save(item, record)
  end
else
  forget(item, record, moved.charge)
  session.open[item] = nil
end
for number = #emitted, 1, -1 do
  table.insert(moved.events, 1, emitted[number])
end
apply(run, session, moved, worker, more)
finish()
return 'DONE'
