-- Renews a lease, also one that has expired, as long as nobody else has taken it.
-- ARGV: the time ('': that of the server), the name, its token, seconds; '' releases it
-- Returns the new end of the lease as text, '' if it was released; false: it isn't held under this token
local LEASES, LEASED = prefix .. 'leases', prefix .. 'leased'
local now, name, token, ttl = time_of(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
if string.match(redis.call('HGET', LEASED, name) or '', '^(%d+)\n') ~= token then
  return false
end
if not ttl then
  redis.call('ZREM', LEASES, name)
  redis.call('HDEL', LEASED, name)
  return ''
end
local ends = exact(now + ttl)
redis.call('ZADD', LEASES, ends, name)
return ends
