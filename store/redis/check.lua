-- Adds 0 to a total by the commands of add.lua, and takes back what they make.
-- After begin.lua.
--
-- Answer: {'ok', total}
if dated and not base then
  redis.call('HSET', KEYS[2], ARGV[2], '0')
  redis.call('HLEN', KEYS[2])
  redis.call('HKEYS', KEYS[2])
  if left then
    redis.call('HSET', KEYS[2], ARGV[2], left)
  else
    redis.call('HDEL', KEYS[2], ARGV[2])
  end
end
if new then
  redis.call('SET', KEYS[1], '0')
  redis.call('DEL', KEYS[1])
  return {'ok', '0'}
end
redis.call('INCRBY', KEYS[1], '0')
return {'ok', redis.call('GET', KEYS[1])}
