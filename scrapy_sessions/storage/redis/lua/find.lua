-- Reads the columns of a session.
-- ARGV: an id
-- Returns the columns of the session, '' if they are unreadable, or false if there is none
local columns = columns_of(ARGV[1])
if columns == false then
  return false
end
return columns or ''
