// Package hlc is a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): times that follow the wall
// clock, never go back, and order causes before effects between nodes.
//
//	 63                                16 15            0
//	+------------------------------------+---------------+
//	| milliseconds since the Unix epoch  |    counter    |
//	+------------------------------------+---------------+
//
// A Time compares as an integer. Clock.Now is strictly monotone; Clock.Observe moves the clock past a time that came
// from elsewhere, so that whatever this node writes afterwards is later than all it has seen. A counter that overflows
// carries into the milliseconds, which is what waiting for the next millisecond would give.
//
// Over a restart the clock must not go back either, even if the wall clock did. It therefore keeps a lease: a time
// some seconds ahead is made durable (Options.Persist), and while the clock stays below it, no tick costs a sync. The
// next start begins at the lease.
package hlc
