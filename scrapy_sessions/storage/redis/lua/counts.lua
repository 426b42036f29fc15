-- Put between times.lua and the scripts of analytics.
local HOURS, EVENTS = prefix .. 'hours', prefix .. 'events'

-- Adds `numbers` to those of a field. Both are text, in the form of add_analytics.lua.
local function add_counts(key, field, numbers)
  local old = redis.call('HGET', key, field)
  if not old then
    redis.call('HSET', key, field, numbers)
    return
  end
  local old_counts, old_statuses = string.match(old, '^([^;]*);(.*)$')
  local counts, statuses = string.match(numbers, '^([^;]*);(.*)$')
  local sums, by_status, order = {}, {}, {}
  for number in string.gmatch(old_counts or '', '%S+') do
    sums[#sums + 1] = tonumber(number)
  end
  local i = 0
  for number in string.gmatch(counts, '%S+') do
    i = i + 1
    sums[i] = exact((sums[i] or 0) + tonumber(number))
  end
  for _, text in ipairs({old_statuses or '', statuses}) do
    for status, count in string.gmatch(text, '(%d+):(%d+)') do
      if not by_status[status] then
        order[#order + 1] = status
      end
      by_status[status] = (by_status[status] or 0) + tonumber(count)
    end
  end
  for n, status in ipairs(order) do
    order[n] = status .. ':' .. string.format('%.0f', by_status[status])
  end
  redis.call('HSET', key, field, table.concat(sums, ' ') .. ';' .. table.concat(order, ' '))
end
