-- The beginning of add.lua and set.lua, after total.lua: whether the counter
-- exists, or may be made. Nothing of a script is undone when a command of it
-- fails, so all keys are looked at before anything is written.
--
-- KEYS: 1 the total, 2 the hash of its days; 3 the set of the names, but not
--   for the home counter and not in a Cluster
-- ARGV: 1 a number; 2 today, or nothing: the clock is wrong; 3 the counter's
--   name; 4 with KEYS[3] how many names there may be, else yes or no: the
--   counter may be made
-- Answer: {'garbage', text}: the total is not a number; {'full'}: no room for
--   the name; {'new'}: the counter may not be made
local was = redis.call('GET', KEYS[1])
local base = redis.pcall('HGET', KEYS[2], ARGV[2])
local dated = ARGV[2] ~= ''
if type(base) == 'table' then
  return redis.error_reply(base.err .. ' (' .. KEYS[2] .. ')')
end
local named = KEYS[3] and redis.pcall('SISMEMBER', KEYS[3], ARGV[3]) or 1
if type(named) == 'table' then
  return redis.error_reply(named.err .. ' (' .. KEYS[3] .. ')')
end
local new = not was or was == 'dropped'
if not new and not is_total(was) then
  return {'garbage', was}
end
if new and named == 0 and
    redis.call('SCARD', KEYS[3]) >= tonumber(ARGV[4]) then
  return {'full'}
end
if new and ARGV[4] == 'no' then return {'new'} end
-- What is left of a counter that is not there any more is no base of this one.
local left = base
if new then base = false end
if named == 0 then redis.call('SADD', KEYS[3], ARGV[3]) end
