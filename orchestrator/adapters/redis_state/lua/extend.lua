#!lua
-- needs: _time _ended
-- Prolongs leases of one shard. KEYS: leases, items, then each lease's session and, if its
-- run has a parent, that. ARGV: lease_ms, then item, nonce, run, tenant, 1 with a parent, for
-- each. Repeating it does no harm.
local LEASES, ITEMS = KEYS[1], KEYS[2]
local expires = text(NOW + tonumber(ARGV[1]))
local states = {}
local key = 3
for at = 2, #ARGV, 5 do
  local item, nonce, run_id, tenant, is_child = unpack(ARGV, at, at + 4)
  local session, parent = KEYS[key], is_child == '1' and KEYS[key + 1] or nil
  key = key + (parent and 2 or 1)
  local packed = redis.call('HGET', ITEMS, item)
  local state = 'held'
  if not packed or cmsgpack.unpack(packed).nonce ~= nonce then
    state = 'lost'
  else
    redis.call('ZADD', LEASES, 'XX', expires, item)
    if redis.call('HGET', session, 'cancel') == run_id or ended(parent, tenant) then
      state = 'cancel_requested'
    end
  end
  states[#states + 1] = state
end
return states
