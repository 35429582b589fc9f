-- Sets a total to ARGV[1] and moves the bases of all days along, so that no day
-- has the jump: plus the new total, minus the old one, in the order that cannot
-- overflow. After begin.lua.
--
-- Answer: {'ok'}
if new then
  redis.call('HDEL', KEYS[2], ARGV[2])
else
  local days = redis.call('HGETALL', KEYS[2])
  for i = 1, #days, 2 do
    local a, b = was == '0' and was or '-' .. was, ARGV[1]
    if (tonumber(days[i + 1]) or 0) < 0 then a, b = b, a end
    -- What is no number is somebody else's, and stays.
    if string.find(days[i + 1], '^-?%d+$') then
      redis.call('HINCRBY', KEYS[2], days[i], a)
      redis.call('HINCRBY', KEYS[2], days[i], b)
    end
  end
end
redis.call('SET', KEYS[1], ARGV[1])
return {'ok'}
