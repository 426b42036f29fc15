-- Writes the shared data of the namespace.
-- ARGV: the version that must be stored, 0 for none; a body; a random text, the same if the call is repeated
-- Returns 1 if it was written, by this call or by an earlier one with the same random text, else 0
local SHARED = prefix .. 'shared'
local version = tonumber(redis.call('HGET', SHARED, 'v') or 0)
if version ~= tonumber(ARGV[1]) then
  return redis.call('HGET', SHARED, 'r') == ARGV[3] and 1 or 0
end
redis.call('HSET', SHARED, 'v', string.format('%.0f', version + 1), 'b', ARGV[2], 'r', ARGV[3])
return 1
