-- Moves what is stored under an id to the quarantine. It is renamed, not read, whatever its type and its size.
-- ARGV: see calls.lua, the id, the revision that it must have ('': any, or none), the time, the reason
-- Returns '1' if it was moved, else '0'
-- The quarantine is a hash: number -> time, a line feed, reason, a line feed, id.
local id, revision = ARGV[2], ARGV[3]
local columns = columns_of(id)
if columns == false or (revision ~= '' and (columns == nil or parsed(columns) ~= revision)) then
  return '0'
end
local number = redis.call('INCR', prefix .. 'set_aside')
redis.call('RENAME', session_key(id), prefix .. 'q:' .. number)
redis.call('HSET', QUARANTINE, number, ARGV[4] .. '\n' .. ARGV[5] .. '\n' .. id)
forget(id)
redis.call('SET', CALL, '1', 'EX', REPEATABLE)
return '1'
