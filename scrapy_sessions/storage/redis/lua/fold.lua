-- Adds rows of sessions, of one hour, to the row of their pool without a session.
-- ARGV: the hour, how many rows at most
-- Returns 1 if there may be more, else 0
local key, left = prefix .. 'h:' .. ARGV[1], tonumber(ARGV[2])
local cursor = '0'
repeat
  local reply = redis.call('HSCAN', key, cursor, 'COUNT', 100)
  cursor = reply[1]
  for i = 1, #reply[2], 2 do
    local field = reply[2][i]
    local pool, session = string.match(field, '^([^\n]*)\n(.*)$')
    if pool and session ~= '' and redis.call('HEXISTS', key, field) == 1 then
      redis.call('HDEL', key, field)
      add_counts(key, pool .. '\n', reply[2][i + 1])
      left = left - 1
    end
  end
until cursor == '0' or left <= 0
return cursor == '0' and 0 or 1
