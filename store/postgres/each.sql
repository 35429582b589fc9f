-- All counters with their totals, the home counter first.
SELECT name, coalesce(visits, 0) FROM visit_counter
WHERE name IS NOT NULL ORDER BY name <> 'homepage', name COLLATE "C"
