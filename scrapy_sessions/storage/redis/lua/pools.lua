-- Put between tokens.lua and the scripts of exclusive pools. ARGV[1] is the time ('': that of the server), ARGV[2] the
-- pool, ARGV[3] the holder. Here times are whole microseconds, which the server reads and writes fastest.
-- claims: a hash, id -> token, a line feed, holder, a line feed, pool; or the token only, of a session that left its pool.
--   In the same hash, so that one command reads or writes them all, and with names that no id has:
--     until_of(holder): the time up to which the process uses the pool. held_by(holder): how many sessions it holds; if
--     too many, they are looked for. SUMMARY: how many sessions and processes the pool has, and when one of them is next
--     to be looked at. There is none while a process waits: whatever changes this deletes it
-- left: a sorted set of the sessions that left their pools, by the time when they are forgotten
-- and for each pool
--   members: a sorted set of the ids. The score of a session that is held is the end of its claim. That of a free one is
--     its last token, less 2^53: it is negative, and the session that was taken longest ago is first. A session whose
--     claim has expired keeps its holder
--   users: a sorted set of the processes that use the pool, by a time up to which they do so at least
--   line: a sorted set of the processes that wait, by the token of their place
--   bell: a list of one process, not empty if it shall look whether it can have a session
local now, pool, holder = microseconds(ARGV[1]), ARGV[2], ARGV[3]
local MEMBERS, USERS, LINE = prefix .. 'members:' .. pool, prefix .. 'users:' .. pool, prefix .. 'line:' .. pool
local SUMMARY = 'p\n' .. pool
local UNHEARD = 3600 -- seconds after which a bell that nobody heard is gone

local function until_of(its_holder)
  return 'u\n' .. its_holder .. '\n' .. pool
end

local function held_by(its_holder, its_pool)
  return 'n\n' .. its_holder .. '\n' .. its_pool
end

local function bell_of(its_holder)
  return prefix .. 'bell:' .. #its_holder .. ':' .. its_holder .. pool
end

-- Returns the token of an entry of claims, and the holder and the pool if its session is in one.
local function parsed(entry)
  local token, its_holder, its_pool = string.match(entry or '', '^(%d+)\n([^\n]*)\n(.*)$')
  return token or string.match(entry or '', '^%d+'), its_holder, its_pool
end

local function score_of_free(token)
  return (tonumber(token) or 0) - 2 ^ 53
end

local function leave(its_holder)
  redis.call('ZREM', USERS, its_holder)
  redis.call('ZREM', LINE, its_holder)
  redis.call('HDEL', CLAIMS, SUMMARY, until_of(its_holder), held_by(its_holder, pool))
  redis.call('DEL', bell_of(its_holder))
end

-- Enters what has happened by itself: claims have expired, processes no longer use the pool.
local function catch_up()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', MEMBERS, 0, now)) do
    redis.call('ZADD', MEMBERS, score_of_free(parsed(redis.call('HGET', CLAIMS, id))), id)
  end
  for _, user in ipairs(redis.call('ZRANGEBYSCORE', USERS, '-inf', now)) do
    local ends = redis.call('HGET', CLAIMS, until_of(user))
    if ends and tonumber(ends) > now then
      redis.call('ZADD', USERS, ends, user)
    else
      leave(user)
    end
  end
end

-- Wakes as many waiting processes as there are free sessions.
local function ring()
  local free = redis.call('ZCOUNT', MEMBERS, '-inf', now)
  for _, waiting in ipairs(free > 0 and redis.call('ZRANGE', LINE, 0, free - 1) or {}) do
    local bell = bell_of(waiting)
    if redis.call('EXISTS', bell) == 0 then
      redis.call('RPUSH', bell, '1')
      redis.call('EXPIRE', bell, UNHEARD)
    end
  end
end
