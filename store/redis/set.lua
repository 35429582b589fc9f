-- Sets a total to ARGV[1] and moves today's base along: plus the new total,
-- minus the old one, in the order that cannot overflow. After begin.lua.
--
-- Answer: {'ok'}
local base = redis.call('HGET', KEYS[2], ARGV[2])
if new then
  redis.call('HDEL', KEYS[2], ARGV[2])
elseif base then
  local a, b = was == '0' and was or '-' .. was, ARGV[1]
  if tonumber(base) < 0 then a, b = b, a end
  redis.call('HINCRBY', KEYS[2], ARGV[2], a)
  redis.call('HINCRBY', KEYS[2], ARGV[2], b)
end
redis.call('SET', KEYS[1], ARGV[1])
if KEYS[3] then redis.call('SADD', KEYS[3], ARGV[3]) end
return {'ok'}
