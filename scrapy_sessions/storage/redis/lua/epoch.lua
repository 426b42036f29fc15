-- Returns the epoch of the namespace, '' if it has none
return redis.call('GET', prefix .. 'epoch') or ''
