-- Adds a name to the set of the names, which in a Cluster has another slot than
-- the counter.
--
-- KEYS: 1 the set
-- ARGV: 1 the name, 2 how many names there may be
-- Answer: {'ok'}; {'full'}
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then
    return {'full'}
  end
  redis.call('SADD', KEYS[1], ARGV[1])
end
return {'ok'}
