-- Sets a total, and moves the bases of all days along, so that no day has the jump.
-- The caller holds the lock.
--   $1 text  name
--   $2 int8  total
--   $3 int8  how many counters with names there may be
-- Gives a row if the total was set; none if there is no room for the counter.
WITH old AS (
	-- The row is locked before the new total is put there.
	SELECT coalesce(visits, 0) AS visits
	FROM visit_counter WHERE name = $1 FOR UPDATE
), put AS (
	INSERT INTO visit_counter (name, visits)
	SELECT $1, $2::int8 FROM (SELECT count(*) AS n FROM old) o
	WHERE o.n > 0 OR $1 = 'homepage'
	OR (SELECT count(*) FROM visit_counter WHERE name <> 'homepage') < $3::int8
	ON CONFLICT (name) DO UPDATE SET visits = excluded.visits
	RETURNING name
), moved AS (
	UPDATE visit_history h SET base = h.base + ($2::int8 - old.visits)
	FROM old WHERE h.name = $1
)
SELECT FROM put
