#!lua flags=allow-oom
-- needs: _time _queue _ended
-- Gives an item back (DONE) if the caller holds its lease, else STALE. KEYS[9] is its session,
-- KEYS[10] the parent run of a child's. It is not delayed when its run is to end.
-- The item remembers who gave it back, for a repetition.
local item, nonce, run_id = ARGV[4], ARGV[5], ARGV[6]
local delay_ms, counts = tonumber(ARGV[7]), ARGV[8] == '1'

local record = load(item)
if not holds(record, nonce) then
  return record and record.given == nonce and 'DONE' or 'STALE'
end
if not counts then
  record.tries = record.tries - 1
end
record.given = nonce
end_lease(item, record)
if redis.call('HGET', KEYS[9], 'cancel') == run_id or ended(KEYS[10], record.tenant) then
  delay_ms = 0
end
queue_up(item, record, delay_ms)
finish()
return 'DONE'
