-- Drops a counter: the word "dropped" takes its place for a while, so that
-- workers that know the counter do not count on as if it were there. After
-- total.lua.
--
-- KEYS: as in begin.lua
-- ARGV: 1 seconds that the word lives, 3 the counter's name
-- Answer: {'ok'}; {'new'}: there is no such counter; {'garbage', text}: the
--   total is not a number
local was = redis.call('GET', KEYS[1])
if not was or was == 'dropped' then return {'new'} end
if not is_total(was) then return {'garbage', was} end
if KEYS[3] then redis.call('SREM', KEYS[3], ARGV[3]) end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], 'dropped', 'EX', ARGV[1])
return {'ok'}
