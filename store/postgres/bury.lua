-- Removes a total and leaves a tombstone.
-- KEYS  the total, its day, its tombstone
-- ARGV  milliseconds that the tombstone stands
redis.call('SET', KEYS[3], '1', 'PX', ARGV[1])
return redis.call('DEL', KEYS[1], KEYS[2])
