-- Held until the end of the transaction by what visitd does one at a time: making
-- counters, items and tables. Version 0.1.0 has the same key, which is of no other
-- meaning.
SELECT pg_advisory_xact_lock(130201475347556)
