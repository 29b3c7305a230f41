#!lua flags=allow-oom
-- needs: _time _day _ledger _queue _events _run
-- Writes a transition that belongs to no lease: DONE, NO_RUN, VERSION when the run changed
-- since it was read, or DAY when that is another than the caller knows. The run remembers the last operation, for its repetition.
local version, operation = take(), take()
local moved = take_transition()

local run = read_run()
if run.tenant ~= TENANT then
  return 'NO_RUN'
end
if run.op == operation then
  return 'DONE'
end
if run.version ~= version or TERMINAL[run.state] then
  return 'VERSION'
end
if not is_of_today(moved) then
  return 'DAY'
end
apply(run, read_session(), moved, nil, { 'op', operation })
finish()
return 'DONE'
