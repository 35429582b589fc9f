-- The tables of the counters; under the lock, since CREATE TABLE IF NOT EXISTS
-- fails if another transaction makes the table at the same time.
SELECT pg_advisory_xact_lock(130201475347556);
CREATE TABLE IF NOT EXISTS visit_counter (
	name text PRIMARY KEY,
	visits int8 NOT NULL
);
CREATE TABLE IF NOT EXISTS visit_history (
	name text NOT NULL,
	day date NOT NULL,
	base int8 NOT NULL,
	PRIMARY KEY (name, day)
)
