-- Enrols sessions in a pool.
-- ARGV: time, pool, holder, microseconds for which the process then uses the pool, ids
-- Returns the ids of all sessions of the pool
local LEFT = prefix .. 'left'
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEFT, '-inf', now)) do
  redis.call('ZREM', LEFT, id)
  redis.call('HDEL', CLAIMS, id)
end
catch_up()
if redis.call('EXISTS', USERS) == 0 then
  local wanted = {}
  for i = 5, #ARGV do
    wanted[ARGV[i]] = true
  end
  for _, id in ipairs(redis.call('ZRANGE', MEMBERS, 0, -1)) do
    if not wanted[id] then
      redis.call('ZREM', MEMBERS, id)
      if parsed(redis.call('HGET', CLAIMS, id)) == '0' then -- it was never claimed
        redis.call('HDEL', CLAIMS, id)
      else -- for the saves of the process that held it
        redis.call('HSET', CLAIMS, id, next_token(now))
        redis.call('ZADD', LEFT, now + REMEMBERED * 1000000, id)
      end
    end
  end
end
local ends = now + ARGV[4]
redis.call('ZADD', USERS, ends, holder)
redis.call('HSET', CLAIMS, until_of(holder), ends)
redis.call('HDEL', CLAIMS, SUMMARY)
for i = 5, #ARGV do
  local id = ARGV[i]
  local token, its_holder, its_pool = parsed(redis.call('HGET', CLAIMS, id))
  if its_pool ~= pool then
    local score = score_of_free(token)
    if its_pool then
      local THERE = prefix .. 'members:' .. its_pool
      score = redis.call('ZSCORE', THERE, id)
      redis.call('ZREM', THERE, id)
      redis.call('HDEL', CLAIMS, 'p\n' .. its_pool)
    else
      redis.call('ZREM', LEFT, id)
    end
    redis.call('HSET', CLAIMS, id, (token or '0') .. '\n' .. (its_holder or '') .. '\n' .. pool)
    redis.call('ZADD', MEMBERS, score, id)
  end
end
ring()
return redis.call('ZRANGE', MEMBERS, 0, -1)
