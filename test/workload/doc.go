// Package workload writes through proxies, remembers what it was told, and holds tables and journals against that.
//
//	Generator: clients on every node --- operations, each with an id ---> proxies
//	    |                                                                  |
//	    v                                                                  v
//	 Ledger: id -> acked | failed | unknown                        tables, journals of all nodes
//	    |                                                                  |
//	    +-------------------------> Checkers <-----------------------------+
//
// An operation is one transaction. It puts its id into a table, so that its effect can be told from that of every other,
// and often does something else in the same transaction: a counter's delta, a pair of rows that must agree, a savepoint
// that is rolled back. Acked means that the client saw its COMMIT succeed; failed, that it certainly did not commit; all
// else is unknown: present everywhere or nowhere.
//
// The checkers:
//
//	set      acked within present within acked + unknown; every transaction whole; all nodes the same
//	counter  a counter is the sum of the deltas that stand beside it
//	pair     two rows that are always written together carry one token
//	audit    each id that is present has exactly one committed record in every journal, with its text, user and node; what
//	         is not present has none
package workload
