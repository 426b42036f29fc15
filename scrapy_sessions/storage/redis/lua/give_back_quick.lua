-- Put before give_back.lua, for one session that is given back while nobody waits: see claim_quick.lua.
-- ARGV: as in give_back.lua
-- Returns as give_back.lua
if #ARGV == 6 and ARGV[4] == '' then
  local CLAIMS, id = prefix .. 'claims', ARGV[5]
  local found = redis.call('HMGET', CLAIMS, '', 'p\n' .. ARGV[2], id)
  local token, process, pool = string.match(found[3] or '', '^(%d+)\n([^\n]+\n(.*))$')
  if found[2] and token == ARGV[6] and pool == ARGV[2] then
    local new = found[1] + 1 -- it may be before the time, as nobody gets this token
    local digit = string.byte(found[1], -1) -- most often the next number has another last digit only
    local text = digit < 57 and string.sub(found[1], 1, -2) .. string.char(digit + 1) or string.format('%.0f', new)
    redis.call('HSET', CLAIMS, '', text, id, text .. '\n\n' .. pool)
    redis.call('ZADD', prefix .. 'members:' .. pool, new - 2 ^ 53, id)
    if redis.call('HINCRBY', CLAIMS, 'n\n' .. process, -1) < 0 then
      redis.call('HDEL', CLAIMS, 'n\n' .. process)
    end
    return '1'
  end
end
