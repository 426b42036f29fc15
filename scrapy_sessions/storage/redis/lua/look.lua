-- Looks whether a process that waits may have a session.
-- ARGV: time, pool, holder
-- Returns '0' if it may, or doesn't wait; else the seconds after which it may without any other call; '': never
catch_up()
local ahead = redis.call('ZRANK', LINE, holder)
-- Those that are free come first, then those whose claims end next.
local claim = ahead and redis.call('ZRANGE', MEMBERS, ahead, ahead, 'WITHSCORES')[2]
if not ahead or (claim and tonumber(claim) <= now) then
  return '0'
end
-- When that claim has expired, or the first process no longer uses the pool: it may be before this one in the line.
local user = redis.call('ZRANGE', USERS, 0, 0, 'WITHSCORES')[2]
if not claim and not user then
  return ''
end
local soon = math.min(tonumber(claim or user), tonumber(user or claim))
return exact(math.max((soon - now) / 1000000, 0.001))
