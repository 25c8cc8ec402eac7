package workload

// Counters, pairs and the different rows of w_chain are few, so that clients meet on them.
const (
	Counters = 3
	Pairs    = 2
	Links    = 4
)

// Schema creates the workload's tables. It is run once, through a proxy.
const Schema = `
CREATE TABLE w_set (id bigint PRIMARY KEY, node text NOT NULL, note text);
CREATE TABLE w_counter (id int PRIMARY KEY, n bigint NOT NULL);
CREATE TABLE w_delta (id bigint PRIMARY KEY, counter int NOT NULL, k bigint NOT NULL);
CREATE TABLE w_pair (id int PRIMARY KEY, token bigint NOT NULL);
CREATE TABLE w_gone (id bigint PRIMARY KEY);
CREATE TABLE w_keyless (id bigint, node text);
CREATE TABLE w_chain (a int);
CREATE TABLE w_large (id bigint PRIMARY KEY, body text NOT NULL);
INSERT INTO w_counter VALUES (1, 0), (2, 0), (3, 0);
INSERT INTO w_pair VALUES (1, 0), (2, 0), (3, 0), (4, 0);
INSERT INTO w_chain VALUES (1), (1), (2), (3), (4)`

// Dump is a query that shows everything the workload wrote, one line for each row.
const Dump = `
SELECT 'set', id::text, node, note FROM w_set
UNION ALL SELECT 'counter', id::text, n::text, '' FROM w_counter
UNION ALL SELECT 'delta', id::text, counter::text, k::text FROM w_delta
UNION ALL SELECT 'pair', id::text, token::text, '' FROM w_pair
UNION ALL SELECT 'gone', id::text, '', '' FROM w_gone
UNION ALL SELECT 'large', id::text, md5(body), '' FROM w_large
UNION ALL SELECT 'made', substr(relname, 8), '', '' FROM pg_class WHERE relname LIKE 'w\_made\_%' AND relkind = 'r'
UNION ALL SELECT 'chain', a::text, count(*)::text, '' FROM w_chain GROUP BY a
UNION ALL SELECT 'keyless', id::text, node, '' FROM w_keyless
ORDER BY 1, 2, 3, 4`
