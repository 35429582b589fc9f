-- The beginning of every script that reads a number.
--
-- Whether a text is a number as Redis writes it, from 0 to 2^63-1.
local function is_total(s)
  return (s == '0' or string.find(s, '^[1-9]%d*$')) and
    (#s < 19 or #s == 19 and s <= '9223372036854775807')
end
