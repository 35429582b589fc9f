-- Forgets a counter ($1, its name) and its days. Gives a row if there was one.
WITH gone AS (DELETE FROM visit_history WHERE name = $1)
DELETE FROM visit_counter WHERE name = $1 RETURNING 1
