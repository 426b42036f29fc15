-- Deletes sessions, and what is in the quarantine under their ids.
-- ARGV: an id and a revision in turn; '' is any revision. With a revision the quarantine is left as it is
-- Returns for each id 1 if it was there, else 0
local deleted = {}
for i = 1, #ARGV, 2 do
  local id, revision = ARGV[i], ARGV[i + 1]
  local columns = columns_of(id)
  local there = columns ~= false
  if there and revision ~= '' then
    there = columns ~= nil and parsed(columns) == revision
  end
  if there then
    redis.call('UNLINK', session_key(id))
    forget(id)
  end
  deleted[#deleted + 1] = there and 1 or 0
  if revision == '' and redis.call('EXISTS', QUARANTINE) == 1 then
    local entries = redis.call('HGETALL', QUARANTINE)
    for n = 1, #entries, 2 do
      if string.match(entries[n + 1], '^[^\n]*\n[^\n]*\n(.*)$') == id then
        redis.call('HDEL', QUARANTINE, entries[n])
        redis.call('UNLINK', prefix .. 'q:' .. entries[n])
      end
    end
  end
end
return deleted
