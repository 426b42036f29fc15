-- Renews the claims of a process, and gives it more sessions of the pool: see ClaimStore.claim() for the rules.
-- ARGV: time, pool, holder, how many sessions it wants in all, microseconds, and the id and the token of each claim in turn
-- Returns lines: its share, how many others wait, its place in the line (0: none), the time, and the id and the token of
-- each claim in turn
-- If its answer is lost, the next call finds the sessions that the process holds, and returns them.
local want, ends = tonumber(ARGV[4]), now + ARGV[5]
local UNTIL, HELD = until_of(holder), held_by(holder, pool)
local found = redis.call('HMGET', CLAIMS, '', SUMMARY, UNTIL, HELD)
local last, known, held = found[1], tonumber(found[3]), tonumber(found[4]) or 0
local share, due = string.match(found[2] or '', '^(%d+) (%d+)$')

local mine, tokens = {}, {}
for i = 6, #ARGV, 2 do
  local id, claimed = ARGV[i], ARGV[i + 1]
  local token, its_holder, its_pool = parsed(redis.call('HGET', CLAIMS, id))
  if not token or tonumber(token) < tonumber(claimed) then -- the data was lost, or is older
    if its_pool then
      redis.call('ZREM', prefix .. 'members:' .. its_pool, id)
      redis.call('HDEL', CLAIMS, 'p\n' .. its_pool)
    elseif token then
      redis.call('ZREM', prefix .. 'left', id)
    end
    redis.call('HSET', CLAIMS, id, claimed .. '\n' .. holder .. '\n' .. pool)
    token, its_holder, its_pool, due = claimed, holder, pool, nil
    last = math.max(tonumber(last) or 0, tonumber(claimed))
  end
  if its_holder == holder and its_pool == pool and not tokens[id] then
    mine[#mine + 1], tokens[id] = id, token
    redis.call('ZADD', MEMBERS, ends, id)
  end
end
if held > #mine then -- the answer of an earlier call was lost
  for _, id in ipairs(redis.call('ZRANGE', MEMBERS, 0, -1)) do
    local token, its_holder = parsed(redis.call('HGET', CLAIMS, id))
    if its_holder == holder and not tokens[id] then
      mine[#mine + 1], tokens[id] = id, token
      redis.call('ZADD', MEMBERS, ends, id)
    end
  end
end

local waiting = 0
if not due or tonumber(due) <= now or not known or known > ends or (#mine == 0 and want <= 0) then
  catch_up()
  if #mine == 0 and want <= 0 then
    leave(holder)
    ring()
    local users = math.max(redis.call('ZCARD', USERS), 1)
    return table.concat({math.floor(redis.call('ZCARD', MEMBERS) / users), redis.call('ZCARD', LINE), 0, 0}, '\n')
  end
  redis.call('ZADD', USERS, ends, holder)
  share = math.floor(redis.call('ZCARD', MEMBERS) / redis.call('ZCARD', USERS))
  waiting = redis.call('ZCARD', LINE)
  due = redis.call('ZRANGE', USERS, 0, 0, 'WITHSCORES')[2]
  found[2] = false
end
local wanted = math.min(want, math.max(tonumber(share), 1))
local ahead = waiting > 0 and redis.call('ZRANK', LINE, holder)
local waits = ahead and true
if waits then
  redis.call('DEL', bell_of(holder))
  waiting = waiting - 1
end
if #mine >= wanted then
  ahead = 0
elseif not waits then
  ahead = waiting
end
local lacking = (waiting > 0 and wanted or want) - #mine
local fields, few = {}, #mine
if lacking > 0 then
  -- Those that are free come first, then those whose claims end next.
  local next = redis.call('ZRANGE', MEMBERS, ahead, ahead + lacking - 1, 'WITHSCORES')
  for i = 1, #next, 2 do
    local id = next[i]
    if tonumber(next[i + 1]) > now then
      break
    end
    last = token_after(last, now)
    local token = text_of(last)
    fields[#fields + 1], fields[#fields + 2] = id, token .. '\n' .. holder .. '\n' .. pool
    if #fields > 1000 then -- Lua passes no more than some thousand at once
      redis.call('HSET', CLAIMS, unpack(fields))
      fields = {}
    end
    redis.call('ZADD', MEMBERS, ends, id)
    mine[#mine + 1], tokens[id] = id, token
  end
end
local place = 0
if #mine >= wanted then
  if waits then
    redis.call('ZREM', LINE, holder)
  end
else
  if #mine > few or not waits then
    last = token_after(last, now)
    redis.call('ZADD', LINE, last, holder)
  end
  place = redis.call('ZRANK', LINE, holder) + 1
end
if waiting > 0 or place > 0 then
  redis.call('HDEL', CLAIMS, SUMMARY)
  ring()
elseif not found[2] then
  fields[#fields + 1], fields[#fields + 2] = SUMMARY, share .. ' ' .. due
end
redis.call('HSET', CLAIMS, '', last or 0, UNTIL, ends, HELD, #mine, unpack(fields))
local answer = {share, waiting, place, text_of(now)}
for _, id in ipairs(mine) do
  answer[#answer + 1], answer[#answer + 2] = id, tokens[id]
end
return table.concat(answer, '\n')
