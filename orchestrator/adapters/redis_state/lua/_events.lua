-- Appends events numbered on from the run's last and tells whoever watches.
local function append(run, stream, about, step, attempt, payloads)
  if #payloads == 0 then
    return
  end
  local last = redis.call('HINCRBY', run, 'seq', #payloads)
  local number = last - #payloads
  local meta = step .. ' ' .. attempt .. ' ' .. text(NOW)
  local message = { about.tenant, text(number + 1), meta, unpack(payloads) }
  for _, payload in ipairs(payloads) do
    number = number + 1
    if number > about.kept then
      redis.call('XADD', stream, 'MAXLEN', about.kept, text(number) .. '-0',
        'm', meta, 'p', payload)
    else
      redis.call('XADD', stream, text(number) .. '-0', 'm', meta, 'p', payload)
    end
  end
  redis.call('PUBLISH', about.channel, table.concat(message, '\n'))
end
