-- Put before the scripts for which time passes. Times are seconds.
local REMEMBERED = 86400

-- Returns the time that is given as text, else that of the server.
local function time_of(given)
  if given ~= '' then
    return tonumber(given)
  end
  local server = redis.call('TIME')
  return server[1] + server[2] / 1000000
end

-- Returns a number as text that is read as the same number. Lua itself writes 14 digits.
local function exact(number)
  return string.format('%.17g', number)
end
