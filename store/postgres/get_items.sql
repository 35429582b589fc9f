-- Reads items.
--   $1 int4[]  ids
--   $2 int4    how many bytes their texts may have: longer ones are not fetched
-- Gives id, name, description, and whether the texts were short enough.
SELECT id, CASE WHEN fits THEN name END, CASE WHEN fits THEN description END, fits
FROM (
	SELECT id, name, description,
		octet_length(name) + coalesce(octet_length(description), 0)
			<= $2::int4 AS fits
	FROM items WHERE id = ANY ($1::int4[])
) i
