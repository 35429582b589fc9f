-- Asked before a conversation counts as open. Sets what a session of our own keeps.
--   $1 int4  the process that the other end of the connection says it is
--   $2 text  statement_timeout, or NULL: what nobody waits for any more should end
--   $3 text  default_transaction_isolation, or NULL
-- Gives the durability of a commit, what is known of the table of counters (struct
-- pq_facts): whether it is there, whether its name is unique, and the type of its
-- visits; whether the session is our own, and its default level of isolation; and the encoding of the database.
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
		AND attname = 'visits' AND NOT attisdropped),
	pg_backend_pid() = $1::int4,
	current_setting('default_transaction_isolation'),
	current_setting('server_encoding'),
	CASE WHEN pg_backend_pid() = $1::int4 AND $2::text IS NOT NULL
		THEN set_config('statement_timeout', $2::text, false) END,
	CASE WHEN pg_backend_pid() = $1::int4 AND $3::text IS NOT NULL
		THEN set_config('default_transaction_isolation', $3::text, false) END
