-- Replaces the body of an entry of the quarantine, if it is still there and unchanged.
-- ARGV: its number, the body that must be stored, the new one
-- Returns 1 if it was replaced, else 0
local key = prefix .. 'q:' .. ARGV[1]
if redis.call('HGET', key, 'b') ~= ARGV[2] then
  return 0
end
redis.call('HSET', key, 'b', ARGV[3])
return 1
