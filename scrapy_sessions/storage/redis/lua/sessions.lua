-- Put before the scripts that read or write sessions.
local LIST, EXPIRY, EPOCH = prefix .. 'list', prefix .. 'expiry', prefix .. 'epoch'
local QUARANTINE = prefix .. 'quarantine'
local MAX_COLUMNS = 8192

local function session_key(id)
  return prefix .. 's:' .. id
end

-- Returns the columns of session `id`; false: there is none; nil: what is there was not written by this package.
local function columns_of(id)
  local key = session_key(id)
  local size = redis.pcall('HSTRLEN', key, 'c')
  if type(size) == 'table' or size > MAX_COLUMNS then
    return nil
  end
  if size > 0 then
    return redis.call('HGET', key, 'c')
  end
  if redis.call('EXISTS', key) == 0 then
    return false
  end
  return nil
end

-- Returns revision, start_time, stamps, status and pool of `columns`, as text.
local function parsed(columns)
  return string.match(columns, '^(%d+)\n(%S+)\n([^\n]*)\n(%a+)\n([^\n]*)\n')
end

local function forget(id)
  redis.call('ZREM', LIST, id)
  redis.call('ZREM', EXPIRY, id)
end
