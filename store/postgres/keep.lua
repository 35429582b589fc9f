-- Keeps a total, unless a tombstone stands or a higher total is kept.
-- KEYS  the total, its day, its tombstone
-- ARGV  the total, the day with its base, seconds to live
-- Gives 1 if it was kept, else 0.
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
-- Totals are compared as texts: a number in Lua has 53 bits. What is no total
-- is overwritten, and a total that would live for ever gets an end.
local was, now = redis.pcall('GET', KEYS[1]), ARGV[1]
if type(was) == 'string' and string.find(was, '^[1-9]%d*$') and
    (#was > #now or (#was == #now and was > now)) then
  if redis.call('TTL', KEYS[1]) < 0 then
    redis.call('EXPIRE', KEYS[1], ARGV[3])
  end
  return 0
end
redis.call('SET', KEYS[1], now, 'EX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return 1
