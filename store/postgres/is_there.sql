-- Whether there is a table of counters.
SELECT to_regclass('visit_counter') IS NOT NULL
