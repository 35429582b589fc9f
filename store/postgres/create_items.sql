-- Makes items, as many as there is room for. The caller holds the lock.
--   $1 text[]  names
--   $2 text[]  descriptions, or NULLs
--   $3 int8    how many items there may be
-- Gives the ids of those that were made, in their order.
INSERT INTO items (name, description)
SELECT t.name, t.description
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (name, description, i)
WHERE t.i <= $3::int8 - (SELECT count(*) FROM items)
ORDER BY t.i
RETURNING id
