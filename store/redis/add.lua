-- Adds ARGV[1] to a total. After begin.lua. What counts comes last: if anything
-- before it fails, the visits get an error and are not counted.
--
-- ARGV: 5 how many days are kept. The newest stay, whatever today is: a clock
--   that is ahead for one visit must not cost the others
-- Answer: {'ok', total, its base today, 1 if the counter is new, else 0}; or
--   the error of INCRBY
if dated and not base then
  base = new and '0' or was
  redis.call('HSET', KEYS[2], ARGV[2], base)
  local more = redis.call('HLEN', KEYS[2]) - tonumber(ARGV[5])
  if more > 0 then
    local days = redis.call('HKEYS', KEYS[2])
    table.sort(days)
    for i = 1, more do redis.call('HDEL', KEYS[2], days[i]) end
  end
end
if new then
  redis.call('SET', KEYS[1], ARGV[1])
else
  local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
  if type(sum) == 'table' then return sum end
end
local total = redis.call('GET', KEYS[1])
return {'ok', total, base or total, new and 1 or 0}
