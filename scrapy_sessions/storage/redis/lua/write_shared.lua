-- Writes the shared data of the namespace.
-- ARGV: see calls.lua, the version that must be stored, 0 for none; a body
-- Returns '1' if it was written, else '0'
local SHARED = prefix .. 'shared'
local version = tonumber(redis.call('HGET', SHARED, 'v') or 0)
if version ~= tonumber(ARGV[2]) then
  return '0'
end
redis.call('HSET', SHARED, 'v', string.format('%.0f', version + 1), 'b', ARGV[3])
redis.call('SET', CALL, '1', 'EX', REPEATABLE)
return '1'
