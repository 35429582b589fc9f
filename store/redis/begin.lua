-- The beginning of add.lua and set.lua, after total.lua: whether the counter
-- exists, or may be made.
--
-- KEYS: 1 the total, 2 the hash of its days; 3 the set of the names, but not
--   for the home counter and not in a Cluster
-- ARGV: 1 a number, 2 today, 3 the counter's name; 4 with KEYS[3] how many
--   names there may be, else yes or no: the counter may be made
-- Answer: {'garbage', text}: the total is not a number; {'full'}: no room for
--   the name; {'new'}: the counter may not be made
local was = redis.call('GET', KEYS[1])
local new = not was or was == 'dropped'
if not new and not is_total(was) then
  return {'garbage', was}
end
if new and KEYS[3] and
    redis.call('SISMEMBER', KEYS[3], ARGV[3]) == 0 and
    redis.call('SCARD', KEYS[3]) >= tonumber(ARGV[4]) then
  return {'full'}
end
if new and ARGV[4] == 'no' then return {'new'} end
