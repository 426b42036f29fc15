-- Put before every script of this folder. KEYS[1] is what all keys of a namespace begin with.
-- Every script may be sent again if its answer was lost: it then changes nothing more, also if another process has
-- changed something in between. For some of them calls.lua sees to that.
-- What a script defines costs as much as a command each time it runs: so there is no more here than all of them use.
local prefix = KEYS[1]
