-- Asked before a conversation counts as open: the durability of a commit, and what
-- is known of the table of counters (struct pq_facts): whether it is there, whether
-- its name is unique, and the type of its visits.
SELECT current_setting('synchronous_commit'),
	to_regclass('visit_counter') IS NOT NULL,
	EXISTS (
		SELECT FROM pg_index i JOIN pg_attribute a
		ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = to_regclass('visit_counter') AND i.indisunique
		AND i.indnkeyatts = 1 AND i.indpred IS NULL
		AND a.attname = 'name'),
	(SELECT atttypid::int4 FROM pg_attribute
		WHERE attrelid = to_regclass('visit_counter')
		AND attname = 'visits' AND NOT attisdropped)
