-- Reads counters.
--   $1 text[]  names, each once
--   $2 int8[]  zeros
--   $3 date    today
-- Gives rows as add.sql does.
SELECT t.i, coalesce(c.visits, 0), h.base, false
FROM unnest($1::text[], $2::int8[]) WITH ORDINALITY AS t (name, n, i)
JOIN visit_counter c USING (name)
LEFT JOIN visit_history h ON h.name = t.name AND h.day = $3::date
