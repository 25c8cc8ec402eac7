// Package wire reads and writes frames of PostgreSQL's protocol 3. It knows only the wire: no session, no SQL.
//
//	conn -> Reader: Next (header only) -> Forward to a Writer (streamed, any size)
//	                                   -> Body (whole, up to a limit) -> Parse, Bind, DataRow, Fields...
//	                                   -> Skip
//	Writer <- Forward, or Start .. End for messages of one's own -> conn
//
// A Reader and a Writer each own one buffer of at most BufferSize bytes. What is only passed through never needs more, whatever
// its length. Every length is checked before anything is allocated, and memory grows with the bytes that arrived, not with
// the bytes that were announced.
package wire
