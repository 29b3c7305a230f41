-- Appends events numbered on from `number` and tells whoever watches. Returns the last number.
local function append_after(number, stream, about, step, attempt, payloads)
  if #payloads == 0 then
    return number
  end
  local meta = step .. ' ' .. attempt .. ' ' .. text(NOW)
  local message = { about.tenant, text(number + 1), meta }
  for _, payload in ipairs(payloads) do
    number = number + 1
    message[#message + 1] = payload
    if number > about.kept then
      redis.call('XADD', stream, 'MAXLEN', about.kept, text(number) .. '-0',
        'm', meta, 'p', payload)
    else
      redis.call('XADD', stream, text(number) .. '-0', 'm', meta, 'p', payload)
    end
  end
  redis.call('PUBLISH', about.channel, table.concat(message, '\n'))
  return number
end

local function append(run, stream, about, step, attempt, payloads)
  if #payloads > 0 then
    local last = redis.call('HINCRBY', run, 'seq', #payloads)
    append_after(last - #payloads, stream, about, step, attempt, payloads)
  end
end
