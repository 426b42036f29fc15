-- Reads the shared data of the namespace.
-- ARGV: the largest size of a body
-- Returns its body and its version; false: there is none; or a reason why it can't be read
local SHARED = prefix .. 'shared'
local version = redis.pcall('HGET', SHARED, 'v')
if type(version) == 'table' then
  return 'it is not a hash'
end
if not version then
  return false
end
if redis.call('HSTRLEN', SHARED, 'b') > tonumber(ARGV[1]) then
  return 'it is larger than any that this package writes'
end
return {redis.call('HGET', SHARED, 'b') or '', version}
