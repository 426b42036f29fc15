-- Adds counters and events of the namespace.
-- ARGV: the time ('': that of the server), a writer and the number of its call ('' '': none), how many counters,
--       then for each counter: the hour, the pool in JSON, the session id in JSON ('': none), and the numbers as text;
--       then for each event: its time and its content
-- Returns 1, or 0 if this call of the writer was added before
-- h:<hour>: a hash, pool, a line feed, session id -> numbers separated by spaces, a ';', and the responses by status,
--   '200:7 404:1'. t:<hour>: a hash, pool -> their sums
-- hours: a sorted set of the hours. events: a sorted set by time; each begins with a growing number, so that of one
--   moment the last one is the last. writers, writer_times: their last numbers, and when they called
local now, writer, number, rows = time_of(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
if writer ~= '' then
  local WRITERS, TIMES = prefix .. 'writers', prefix .. 'writer_times'
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', TIMES, '-inf', exact(now - REMEMBERED), 'LIMIT', 0, 100)) do
    redis.call('ZREM', TIMES, old)
    redis.call('HDEL', WRITERS, old)
  end
  if tonumber(redis.call('HGET', WRITERS, writer) or -1) >= tonumber(number) then
    return 0
  end
  redis.call('HSET', WRITERS, writer, number)
  redis.call('ZADD', TIMES, exact(now), writer)
end

for i = 5, 4 + rows * 4, 4 do
  local hour, its_pool, numbers = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  add_counts(prefix .. 'h:' .. hour, its_pool .. '\n' .. ARGV[i + 2], numbers)
  add_counts(prefix .. 't:' .. hour, its_pool, numbers)
  redis.call('ZADD', HOURS, hour, hour)
end
for i = 5 + rows * 4, #ARGV, 2 do
  local order = string.format('%012.0f', redis.call('INCR', prefix .. 'event'))
  redis.call('ZADD', EVENTS, ARGV[i], order .. ARGV[i + 1])
end
return 1
