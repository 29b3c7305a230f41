-- An entry is "expiry in µs:answer"; its size is its length and that of its likeness.
local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function drop(digest)
  local size = redis.call('HSTRLEN', KEYS[1], digest)
  if size == 0 then
    return
  end
  local member = redis.call('HGET', KEYS[5], digest)
  if member then
    redis.call('ZREM', KEYS[4], member)
    redis.call('HDEL', KEYS[5], digest)
    size = size + #member
  end
  redis.call('HDEL', KEYS[1], digest)
  redis.call('ZREM', KEYS[2], digest)
  redis.call('HINCRBY', KEYS[3], 'bytes', -size)
end

local function read(digest)
  local entry = redis.call('HGET', KEYS[1], digest)
  if not entry then
    return false
  end
  local now = micros()
  local colon = string.find(entry, ':', 1, true)
  if tonumber(string.sub(entry, 1, colon - 1)) <= now then
    drop(digest)
    return false
  end
  redis.call('ZADD', KEYS[2], 'XX', now, digest)
  return string.sub(entry, colon + 1)
end
