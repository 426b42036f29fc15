-- Gives claims back.
-- ARGV: time, pool, '', '1' if the sessions leave the pool, and the id and the token of each claim in turn
-- Returns a text: for each '1', or '0' if the claim is dead
local done, summary = '', nil
for i = 5, #ARGV, 2 do
  local id = ARGV[i]
  local found = redis.call('HMGET', CLAIMS, '', SUMMARY, id)
  local token, its_holder, its_pool = parsed(found[3])
  local valid = its_pool and token == ARGV[i + 1]
  summary = found[2]
  if valid then
    local new = token_after(found[1], now)
    local HELD, THERE = held_by(its_holder, its_pool), prefix .. 'members:' .. its_pool
    if ARGV[4] == '1' then
      redis.call('HSET', CLAIMS, '', new, id, new)
      redis.call('HDEL', CLAIMS, 'p\n' .. its_pool)
      redis.call('ZREM', THERE, id)
      redis.call('ZADD', prefix .. 'left', now + REMEMBERED * 1000000, id)
    else
      redis.call('HSET', CLAIMS, '', new, id, text_of(new) .. '\n\n' .. its_pool)
      redis.call('ZADD', THERE, score_of_free(new), id)
    end
    if redis.call('HINCRBY', CLAIMS, HELD, -1) < 0 then
      redis.call('HDEL', CLAIMS, HELD) -- the process no longer uses the pool
    end
  end
  done = done .. (valid and '1' or '0')
end
if not summary then
  ring()
end
return done
