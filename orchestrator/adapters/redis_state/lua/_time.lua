local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000 + math.floor(TIME[2] / 1000)

-- Numbers are doubles; this text gives the same double back.
local function text(number)
  return string.format('%.17g', number)
end
