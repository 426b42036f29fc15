-- Saves sessions, each as a whole or not at all.
-- ARGV: see calls.lua ('' for sessions that must be stored in an earlier revision), 'save' or 'replace',
--       the epoch that the process has seen ('': none), a random text for a new epoch, and for each session: its id,
--       the revision and the start_time that must be stored ('' '': none may be), its token ('': it isn't claimed),
--       columns, body, -last_activity, expires_at ('': never)
-- Returns a text: for each session '0' saved, '1' conflict, '2' deleted, '3' fenced, '4' fault; then a space and the epoch.
-- If the epoch isn't that which the process has seen, the data was lost: nothing is saved, and the text begins with ' '
local CLAIMS = prefix .. 'claims'
local epoch = redis.call('GET', EPOCH)
if ARGV[3] ~= '' and epoch ~= ARGV[3] then
  return ' ' .. (epoch or '')
end
if not epoch then
  epoch = ARGV[4]
  redis.call('SET', EPOCH, epoch)
end

local function save(id, old_revision, old_start, token, columns, body, score, expires_at)
  if token ~= '' then
    local newest = string.match(redis.call('HGET', CLAIMS, id) or '', '^%d+')
    if newest and tonumber(newest) > tonumber(token) then
      return '3'
    end
  end
  local there = columns_of(id)
  if there == nil then
    return '4'
  end
  if there then
    local revision, start, stamps = parsed(there)
    local new_revision, _, new_stamps = parsed(columns)
    if not revision then
      return '4'
    end
    local stamp = string.sub(stamps, 1, 8)
    if ARGV[2] == 'save' and revision == new_revision and stamp ~= '' and stamp == string.sub(new_stamps, 1, 8) then
      return '0' -- by an earlier call
    end
    if old_revision == '' then
      return '1'
    end
    if start ~= old_start then
      return '2'
    end
    if revision ~= old_revision then
      return '1'
    end
    local replaces = string.sub(new_stamps, 10, 17)
    if ARGV[2] == 'save' and stamp ~= '' and replaces ~= '' and stamp ~= replaces then
      return '1' -- another row of that revision: the data went back in time, and were saved anew
    end
  elseif old_revision ~= '' then
    return '2'
  end
  redis.call('HSET', session_key(id), 'c', columns, 'b', body)
  redis.call('ZADD', LIST, score, id)
  if expires_at ~= '' then
    redis.call('ZADD', EXPIRY, expires_at, id)
  elseif there then
    redis.call('ZREM', EXPIRY, id)
  end
  return '0'
end

local answer = ''
for i = 5, #ARGV, 8 do
  answer = answer .. save(unpack(ARGV, i, i + 7))
end
local saved = string.find(answer, '0', 1, true)
answer = answer .. ' ' .. epoch
if saved and ARGV[1] ~= '' then
  redis.call('SET', CALL, answer, 'EX', REPEATABLE)
end
return answer
