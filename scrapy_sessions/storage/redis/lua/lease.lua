-- Takes the lease of a name.
-- ARGV: the time ('': that of the server), the name, seconds, the process and a random word, the same if the call is repeated
-- Returns the token and the end of the lease as text; false: another holder has it
-- leases: a sorted set of names by the end of the lease. leased: a hash, name -> token, a line feed, the process and its word
local LEASES, LEASED = prefix .. 'leases', prefix .. 'leased'
local now, name, ttl, call = time_of(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
for _, old in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', now - REMEMBERED, 'LIMIT', 0, 100)) do
  redis.call('ZREM', LEASES, old)
  redis.call('HDEL', LEASED, old)
end
local token, last_call = string.match(redis.call('HGET', LEASED, name) or '', '^(%d+)\n(.*)$')
local ends = tonumber(redis.call('ZSCORE', LEASES, name) or '-inf')
if ends > now and last_call ~= call then
  return false
end
if ends <= now or last_call ~= call then
  token = text_of(next_token(math.floor(now * 1000000)))
end
ends = exact(now + ttl)
redis.call('ZADD', LEASES, ends, name)
redis.call('HSET', LEASED, name, token .. '\n' .. call)
return {token, ends}
