-- Put before the scripts that would do or report something else if they were carried out again.
-- ARGV: first, a random text, the same if the call is sent again; '' if it may be carried out again
-- Returns the answer of the call if it was carried out before
-- call:<text>: the answer, a text, of a call that has changed something. The script after this one sets it.
local CALL = prefix .. 'call:' .. ARGV[1]
local REPEATABLE = 60 -- seconds: a call is sent for the last time about 7 seconds after the first
if ARGV[1] ~= '' then
  local answer = redis.call('GET', CALL)
  if answer then
    return answer
  end
end
