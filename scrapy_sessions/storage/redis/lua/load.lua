-- Reads sessions. Values are looked at before they are sent.
-- ARGV: the largest size of a body, the size after which no more sessions are sent, then ids
-- Returns the epoch, and for each id, up to the size: false (there is none), {columns, body}, or a reason to set it aside
local max_body, budget = tonumber(ARGV[1]), tonumber(ARGV[2])
local found = {redis.call('GET', EPOCH) or ''}
for i = 3, #ARGV do
  local columns = columns_of(ARGV[i])
  if columns == false then
    found[#found + 1] = false
  elseif columns == nil then
    found[#found + 1] = 'it is not a session of this package'
  else
    local key = session_key(ARGV[i])
    local size = redis.call('HSTRLEN', key, 'b')
    if size > max_body then
      found[#found + 1] = 'its body is larger than any that this package writes'
    else
      found[#found + 1] = {columns, redis.call('HGET', key, 'b') or ''}
      budget = budget - size
      if budget < 0 then
        break
      end
    end
  end
end
return found
