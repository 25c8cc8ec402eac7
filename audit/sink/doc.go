// Package sink writes the audit trail to the outside as it grows: to a file of JSON lines, a syslog server, a PostgreSQL table.
//
//	journal ──in order of position, once decided──> Sink.Run ──batches──> Output: File    JSON lines, rotated
//	   ^                                               |                          Syslog  RFC 5424 over unix, udp, tcp
//	   └── Watch wakes                                 └── Resume, after any       Table   audit.logged_actions
//	                                                       error or start
//
// What has been written is known by the output itself: the file by its last line, the table by a row that moves in the transaction
// of the lines. So nothing is written twice and nothing is left out, whatever is killed when. Syslog tells nobody what has
// arrived: its position is kept beside the journal and moved after sending, so that after a crash some entries come again. What
// a server's machine had taken and the server not yet read when it broke down is lost: no syslog transport tells.
//
// A transaction is not written before its outcome is known: behind one in doubt everything waits.
package sink
