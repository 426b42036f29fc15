-- Reads the columns of sessions in the order of a listing: the newest last_activity first, then by id.
-- ARGV: the score and the id to begin after (score '': at the beginning; id '': before the first of that score, '\255':
--       after the last). If the id has moved or is gone, the reply begins with the first of that score
--       the pool in JSON ('*': all) and the status ('*': all), how many to return, how many to look at
-- Returns '1' if there may be more, else '', the score and the id to go on after, and then an id and its columns in turn
local score, after, pool, status = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, budget = tonumber(ARGV[5]), tonumber(ARGV[6])
local rank = 0
if score ~= '' then
  rank = redis.call('ZCOUNT', LIST, '-inf', after == '\255' and score or '(' .. score)
  local at = after ~= '' and redis.call('ZSCORE', LIST, after)
  if at and tonumber(at) == tonumber(score) then
    rank = redis.call('ZRANK', LIST, after) + 1
  end
end
local ids = redis.call('ZRANGE', LIST, rank, rank + budget - 1, 'WITHSCORES')
local found = {#ids == budget * 2 and '1' or '', score, after}
for i = 1, #ids, 2 do
  if limit == 0 then
    found[1] = '1'
    break
  end
  found[2], found[3] = ids[i + 1], ids[i]
  local columns = columns_of(ids[i])
  if columns ~= false then
    local _, _, _, its_status, its_pool = parsed(columns or '')
    if not its_status or ((pool == '*' or pool == its_pool) and (status == '*' or status == its_status)) then
      found[#found + 1] = ids[i]
      found[#found + 1] = columns or ''
      limit = limit - 1
    end
  end
end
return found
