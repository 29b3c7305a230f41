#!lua flags=allow-oom
-- needs: _time _queue
-- Removes an item whose run is gone, if the caller holds its lease.
local item, nonce = ARGV[4], ARGV[5]
local packed = redis.call('HGET', HELD, item)
if packed and cmsgpack.unpack(packed)[1] == nonce then
  forget(item)
  wake()
end
return 'DONE'
