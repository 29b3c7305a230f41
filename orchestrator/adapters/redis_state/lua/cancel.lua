#!lua flags=allow-oom
-- needs: _time _day _ledger _queue _events _run
-- Ends a run that nobody works on (DONE), or asks its workers to (ASKED).
local version = take()
local moved = take_transition()

local run = read_run()
if run.tenant ~= TENANT then
  return 'NO_RUN'
end
if TERMINAL[run.state] then
  return 'ENDED'
end
if run.version ~= version then
  return 'VERSION'
end
if not is_of_today(moved) then
  return 'DAY'
end
local session = read_session()
for item in pairs(session.open) do
  local record = load(item)
  if record and record.state == 'leased' then
    redis.call('HSET', SESSION, 'cancel', RUN_ID)
    tell_cancelled(RUN_ID)
    return 'ASKED'
  end
end

apply(run, session, moved, nil, {})
finish()
return 'DONE'
