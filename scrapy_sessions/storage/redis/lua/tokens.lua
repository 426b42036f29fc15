-- Put between times.lua and the scripts of leases and pools. The field '' of the hash claims is the last token that was
-- given. pools.lua has the other fields.
local CLAIMS = prefix .. 'claims'

-- Returns the time in whole microseconds that is given as text, else that of the server.
local function microseconds(given)
  if given ~= '' then
    return tonumber(given)
  end
  local server = redis.call('TIME')
  return server[1] * 1000000 + server[2]
end

-- Returns the token to give after `last`. It is at least the time, so that none is given twice, not even after the data
-- was lost.
local function token_after(last, micros)
  last = tonumber(last)
  return last and last >= micros and last + 1 or micros
end

-- Returns a token as text. Lua itself writes 14 digits.
local function text_of(token)
  return string.format('%.0f', token)
end

local function next_token(micros)
  local token = token_after(redis.call('HGET', CLAIMS, ''), micros)
  redis.call('HSET', CLAIMS, '', token)
  return token
end
