-- Deletes sessions, and what is in the quarantine under their ids.
-- ARGV: see calls.lua, and then an id, a revision and a start_time in turn; '' is any. With a revision the quarantine is
--       left as it is
-- Returns a text: for each id '1' if it was there, else '0'
local deleted, changed = '', false
for i = 2, #ARGV, 3 do
  local id, revision, start = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local columns = columns_of(id)
  local there = columns ~= false
  if there and revision ~= '' then
    local its_revision, its_start = parsed(columns or '')
    there = its_revision == revision and (start == '' or its_start == start)
  end
  if there then
    redis.call('UNLINK', session_key(id))
    forget(id)
    changed = true
  end
  deleted = deleted .. (there and '1' or '0')
  if revision == '' and redis.call('EXISTS', QUARANTINE) == 1 then
    local entries = redis.call('HGETALL', QUARANTINE)
    for n = 1, #entries, 2 do
      if string.match(entries[n + 1], '^[^\n]*\n[^\n]*\n(.*)$') == id then
        redis.call('HDEL', QUARANTINE, entries[n])
        redis.call('UNLINK', prefix .. 'q:' .. entries[n])
        changed = true
      end
    end
  end
end
if changed then
  redis.call('SET', CALL, deleted, 'EX', REPEATABLE)
end
return deleted
