// Package parser turns SQL text into meaning: kind, targets, intent of each assignment, splice points, secrets. It is
// pure: no I/O, no clock, no catalog. It is the only importer of pg_query_go, whose types never leave it.
//
//	text -> text cache ---------------------------------------------------------------> Script
//	          | not there                                                                  ^
//	          v                                                                            |
//	        scanner -> tokens -> depth (limits) -> pieces between semicolons               |
//	                                                 |                                     |
//	                 queries, writes, COMMIT..       |    everything else                  |
//	                           v                     v                                     |
//	                       skeleton                 text ----------> libpg_query           |
//	                           |                                        | tree             |
//	                           v                                        v                  |
//	                      shape cache --- not there --> libpg_query  classify, walk,       |
//	                           |                            | tree   details (analyse)     |
//	                           |                            v           |                  |
//	                           |                         analyse        | secrets          |
//	                           v                            v           v                  |
//	                      statement with places as tokens --------> place in bytes --------+
//
// # Reading order
//
// statement.go is what others see. parser.go is the path above, escaped.go for sessions with standard_conforming_strings
// off. token.go and number.go are the scanner, limits.go keeps
// libpg_query alive, skeleton.go is why a text with inlined values costs a microsecond or two; analyse.go calls libpg_query
// and walk.go collects what may stand anywhere in a tree; classify.go and ddl.go know every statement node; write.go,
// assign.go, session.go, copy.go, objects.go, refuse.go and password.go know the details of their statements; secret.go,
// finder.go and redact.go keep secrets out of records.
//
// # What can be relied on
//
//   - Parse never fails and never panics. What cannot be read has Unread set, and must be handled by its effect. Unread never
//     quotes the text. An unread text that begins like DDL has a Guess.
//   - The scanner splits texts as PostgreSQL 17 does (held against libpg_query's own by a fuzz test), so that a splice at the
//     end of the last token is never inside a comment or a string.
//   - A statement's tree is never deeper than the depth of its tokens says (held against every sequence of up to three words
//     that repeats), and that is bounded at a tenth of what an 8 MiB stack takes. libpg_query checks nothing: from about 24,000
//     levels on it ends the process. On musl, whose threads have 128 KiB, Options.MaxDepth would have to be 200.
//   - A skeleton means what its text means (held against the text itself by a fuzz test).
//   - Meaning is lexical: Name is the name as written, and whether it is a table or a view, or whether a function writes, only the
//     catalog knows. x.f may be a call of f(x), an operator may call anything, and a cast too.
//
// # Writable CTEs
//
// Target says of each writing WITH member where its RETURNING can be spliced, and MainAt where members can be added. A member
// without RETURNING cannot be named by anything, so that one can be added unseen; one with RETURNING takes another column
// unseen unless it is Exposed. To get the images out of the statement its own verb becomes the last member:
//
//	WITH a AS (DELETE .. RETURNING id, <image> AS i),                       at Targets[a].SpliceAt
//	     own AS (<from MainAt on>)                                          at MainAt
//	SELECT o.*, i.* FROM own o FULL JOIN (SELECT a.i FROM a UNION ALL ..) i ON false
//
// which gives the client's rows with no image, in their order, then the images with no client columns. A verb that writes
// gets RETURNING (or one more column) at SpliceAt first; its rows, counted, make the tag.
package parser
