-- Adds the visits of a turn, and reads counters without visits in it.
--   $1 text[]  names, each once
--   $2 int8[]  how many visits of each; 0 only reads
--   $3 date    today; NULL: the clock is wrong, and no day is touched
--   $4 int8    the largest total
--   $5 int8    how many counters with names there may be; NULL: visits are added
--              to rows that exist, and to the home counter, and nothing is pruned.
--              Otherwise the caller holds the lock, so that the count is exact.
--   $6 bool    0 visits are added, too: a probe
-- Gives a row for each counter that was read or added to: its index from 1, the
-- total, the base of today or NULL, and whether it is new.
WITH turn AS (
	SELECT name, n, i
	FROM unnest($1::text[], $2::int8[]) WITH ORDINALITY AS t (name, n, i)
), fresh AS (
	SELECT t.name, t.n, row_number() OVER (ORDER BY t.i) AS k
	FROM turn t
	WHERE $5::int8 IS NOT NULL AND t.n > 0 AND t.name <> 'homepage'
	AND NOT EXISTS (SELECT FROM visit_counter c WHERE c.name = t.name)
), allowed AS (
	SELECT name, n FROM turn t
	WHERE name = 'homepage'
	OR EXISTS (SELECT FROM visit_counter c WHERE c.name = t.name)
	UNION ALL
	SELECT name, n FROM fresh
	WHERE k + (SELECT count(*) FROM visit_counter WHERE name <> 'homepage')
		<= $5::int8
), pruned AS (
	-- The newest 40 days of a counter stay, 400 of the home counter, whatever
	-- today is: a clock that is ahead for one visit must not cost the others.
	DELETE FROM visit_history h USING turn t
	WHERE $5::int8 IS NOT NULL AND h.name = t.name
	AND h.day <= (
		SELECT o.day FROM visit_history o WHERE o.name = t.name
		ORDER BY o.day DESC
		OFFSET CASE WHEN t.name = 'homepage' THEN 400 ELSE 40 END LIMIT 1)
), added AS (
	-- In the order of the bytes of the names: two workers cannot deadlock.
	INSERT INTO visit_counter AS c (name, visits)
	SELECT name, n FROM allowed WHERE n > 0 OR $6::bool
	ORDER BY name COLLATE "C"
	ON CONFLICT (name) DO UPDATE
	SET visits = coalesce(c.visits, 0) + excluded.visits
	WHERE coalesce(c.visits, 0) BETWEEN 0 AND $4::int8 - excluded.visits
	RETURNING c.name, c.visits, c.xmax = 0 AS is_new
), based AS (
	-- The first visits of a day note the total before them. If another
	-- worker does so at the same time, the lower base is the right one.
	INSERT INTO visit_history AS h (name, day, base)
	SELECT a.name, $3::date, a.visits - t.n
	FROM added a JOIN turn t USING (name)
	WHERE $3::date IS NOT NULL AND (a.is_new OR NOT EXISTS (
		SELECT FROM visit_history o
		WHERE o.name = a.name AND o.day = $3::date))
	ORDER BY a.name COLLATE "C"
	ON CONFLICT (name, day) DO UPDATE SET base = least(h.base, excluded.base)
	RETURNING h.name, h.base
), now AS (
	SELECT name, visits, is_new FROM added
	UNION ALL
	SELECT name, coalesce(v.visits, 0), false
	FROM turn JOIN visit_counter v USING (name) WHERE n = 0 AND NOT $6::bool
)
SELECT t.i, c.visits, coalesce(b.base, h.base), c.is_new
FROM now c
JOIN turn t USING (name)
LEFT JOIN based b USING (name)
LEFT JOIN visit_history h ON h.name = t.name AND h.day = $3::date
