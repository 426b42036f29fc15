-- Put before every script of this folder. KEYS[1] is what all keys of a namespace begin with.
-- Every script may be sent again if its answer was lost: it then changes nothing more.
-- What a script defines costs as much as a command each time it runs: so there is no more here than all of them use.
local prefix = KEYS[1]
