-- Held until the end of the transaction by what visitd does one at a time: making
-- counters, items and tables. The key is "visitd" as a number.
SELECT pg_advisory_xact_lock(130201475347556)
