-- wrk: each request hits one of so many counters, at random.
local names

function init(args)
   names = tonumber(args[1])
   math.randomseed(os.time())
end

function request()
   return wrk.format("GET", "/hit/names/n" .. math.random(names))
end
