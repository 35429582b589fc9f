-- Adds ARGV[1] to a total. After begin.lua.
--
-- ARGV: 5 the oldest day that is kept
-- Answer: {'ok', total, its base today, 1 if the counter is new, else 0}; or
--   the error of INCRBY
if new then redis.call('SET', KEYS[1], '0') end
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' then return sum end
if KEYS[3] then redis.call('SADD', KEYS[3], ARGV[3]) end
if new then redis.call('HDEL', KEYS[2], ARGV[2]) end
if redis.call('HSETNX', KEYS[2], ARGV[2], new and '0' or was) == 1 then
  for _, day in ipairs(redis.call('HKEYS', KEYS[2])) do
    if day < ARGV[5] then redis.call('HDEL', KEYS[2], day) end
  end
end
return {'ok', redis.call('GET', KEYS[1]),
  redis.call('HGET', KEYS[2], ARGV[2]), new and 1 or 0}
