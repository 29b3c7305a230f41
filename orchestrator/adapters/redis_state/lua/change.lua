#!lua flags=allow-oom
-- needs: _time _queue _events _run
-- Writes a transition that belongs to no lease: DONE, NO_RUN, or VERSION when the run changed
-- since it was read. The run remembers the last operation, for its repetition.
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
apply(run, read_session(), moved, nil, { 'op', operation })
finish()
return 'DONE'
