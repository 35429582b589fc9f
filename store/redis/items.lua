-- Makes items, as many as there is room for, each under the next id that no
-- item has. After total.lua.
--
-- KEYS: 1 the last id
-- ARGV: 1 how many ids there may be, 2 how many items; 3 ... the items; none in
--   a Cluster, where an item has another slot: then the ids are only taken
-- Answer: {'ok', id, ...}: of the first items; {'garbage', text}: the last id
--   is not a number
local last = redis.call('GET', KEYS[1]) or '0'
if not is_total(last) then return {'garbage', last} end
last = tonumber(last)
local answer = {'ok'}
local item = string.sub(KEYS[1], 1, -3)
for i = 1, tonumber(ARGV[2]) do
  repeat
    if last >= tonumber(ARGV[1]) then return answer end
    last = redis.call('INCR', KEYS[1])
  until not ARGV[i + 2] or
    redis.call('SETNX', item .. last, ARGV[i + 2]) == 1
  answer[i + 1] = tostring(last)
end
return answer
