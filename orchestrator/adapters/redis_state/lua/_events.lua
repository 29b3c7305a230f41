-- Appends events numbered on from the run's last and tells whoever watches.
local function append(run, stream, about, step, attempt, payloads)
  if #payloads == 0 then
    return
  end
  local next_seq = redis.call('HINCRBY', run, 'seq', #payloads) - #payloads + 1
  local meta = step .. ' ' .. attempt .. ' ' .. text(NOW)
  local message = { about.tenant, text(next_seq), meta }
  for number, payload in ipairs(payloads) do
    redis.call('XADD', stream, 'MAXLEN', about.kept, text(next_seq + number - 1) .. '-0',
      'm', meta, 'p', payload)
    message[#message + 1] = payload
  end
  redis.call('PUBLISH', about.channel, table.concat(message, '\n'))
end
