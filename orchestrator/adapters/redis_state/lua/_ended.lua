-- Whether a run has ended or is gone; false when there is no key.
local function ended(key, tenant)
  if not key then
    return false
  end
  local owner, state = unpack(redis.call('HMGET', key, 'tenant', 'state'))
  return owner ~= tenant or state == 'completed' or state == 'failed' or state == 'cancelled'
end
