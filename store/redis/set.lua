-- Sets a total to ARGV[1] and moves today's base along: plus the new total,
-- minus the old one, in the order that cannot overflow. After begin.lua.
--
-- Answer: {'ok'}
if base then
  local a, b = was == '0' and was or '-' .. was, ARGV[1]
  if tonumber(base) < 0 then a, b = b, a end
  redis.call('HINCRBY', KEYS[2], ARGV[2], a)
  redis.call('HINCRBY', KEYS[2], ARGV[2], b)
end
redis.call('SET', KEYS[1], ARGV[1])
return {'ok'}
