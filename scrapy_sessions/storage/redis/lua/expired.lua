-- Reads the columns of expired sessions, the earliest first, then by id.
-- ARGV: the time up to which, how many to skip, how many to look at
-- Returns how many were looked at, how many of them are gone, and then an id and its columns ('': unreadable) in turn
local ids = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', ARGV[1], 'LIMIT', ARGV[2], ARGV[3])
local found = {#ids, 0}
for _, id in ipairs(ids) do
  local columns = columns_of(id)
  if columns == false then
    forget(id) -- another program has deleted it
    found[2] = found[2] + 1
  else
    found[#found + 1] = id
    found[#found + 1] = columns or ''
  end
end
return found
