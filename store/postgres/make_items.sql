-- The table of the items; see make_counters.sql.
SELECT pg_advisory_xact_lock(130201475347556);
CREATE TABLE IF NOT EXISTS items (
	id serial PRIMARY KEY,
	name text NOT NULL,
	description text
)
