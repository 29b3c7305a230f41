#!lua flags=allow-oom
-- needs: _time _queue
-- Removes an item whose run is gone, if the caller holds its lease.
local record = load(ARGV[4])
if holds(record, ARGV[5]) then
  forget(ARGV[4], record)
  finish()
end
return 'DONE'
