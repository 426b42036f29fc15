-- Put before claim.lua, for a process that holds nothing and wants one session while one is free and nobody waits. Whatever
-- else there is to do is left to claim.lua, which would do the same here. So most of the server's time for a claim is that
-- of its writes: for that, what isn't needed here is defined after it, and no number is written as text.
-- ARGV: as in claim.lua
-- Returns as claim.lua
if #ARGV == 5 and ARGV[4] == '1' then
  local call, CLAIMS, pool, time = redis.call, prefix .. 'claims', ARGV[2], ARGV[1]
  if time == '' then
    time = call('TIME')
    time = time[1] .. string.sub('00000' .. time[2], -6)
  end
  local now, process = time + 0, ARGV[3] .. '\n' .. pool
  local ends, UNTIL, HELD = now + ARGV[5], 'u\n' .. process, 'n\n' .. process
  local found = call('HMGET', CLAIMS, '', 'p\n' .. pool, UNTIL, HELD)
  local share, due = string.match(found[2] or '', '^(%d+) (%d+)$')
  if due and due + 0 > now and found[1] + 0 < now and found[3] and found[3] + 0 <= ends and found[4] == '0' then
    local MEMBERS = prefix .. 'members:' .. pool
    local first = call('ZRANGE', MEMBERS, 0, 0, 'WITHSCORES')
    local id = first[1]
    if id and first[2] + 0 <= now then
      call('ZADD', MEMBERS, ends, id)
      call('HSET', CLAIMS, '', time, UNTIL, ends, HELD, 1, id, time .. '\n' .. process)
      return share .. '\n0\n0\n' .. time .. '\n' .. id .. '\n' .. time
    end
  end
end
