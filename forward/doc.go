// Package forward carries records between this node's journal and its peers. Applying them to the database is the
// sub-room apply; the two meet in the journal alone.
//
//	journal.After --> sender --> zstd --> Batch ... gRPC, TLS 1.3 ... --> reader --> storer --> Journal.Store
//	     ^                ^                                                                        |
//	     |            window, what the peer has  <--------- State (stored, applied) <--------------+
//	journal.Watch
//
// One link per pair of nodes is a bidirectional stream that carries both directions (link.go lists its goroutines).
// Whoever can dial does; of two links, both sides keep the same one (links.go).
//
// # Life of a link
//
//  1. Hello both ways, judged by each side (hello.go): versions, names, ids, certificate, copies of a node.
//  2. If one of the two is no member of a cluster yet, or is one alone and may give that up, it asks for admission
//     (meeting.go, membership.go). Nobody's records move before both are members of one cluster.
//  3. Both say which hash their last record of each origin has. An origin whose history differs is refused on this link,
//     loudly; the others go on.
//  4. Records flow from what the other side has. Acknowledgements carry what it has stored durably.
//
// # Checkpoints
//
// Linked nodes keep each other's newest signed checkpoint, and take a newer one only with the proof that it goes on from there
// (checkpoint.go). A node whose journal contradicts what it signed is refused, over restarts, until an operator trusts it again.
//
// # Which records travel
//
// All that the other side lacks, whoever wrote them: so any connected graph works, and what a dead node wrote still
// reaches everybody. A record is not sent to where it came from. A record of an origin that the peer is linked to itself
// is held back for Limits.RelayPatience, since the peer is about to get it at first hand; it is sent if the peer makes no
// progress with that origin in the meantime. Holding back saves half of the traffic of a mesh and costs a delay only
// where a link is broken without having been noticed.
//
// # Beats
//
// Records say what their author has applied; a node where nobody writes says so by beats (beats.go), at most one an
// interval, and only while others wait for it: see Journal.KeepLine.
//
// # Bounds
//
// A frame is at most a chunk (1 MiB) and a bit; a chunk is unpacked into at most 1 MiB; a batch is as large as its first
// chunk says and no larger than Limits.RecordBytes; large ones come in one at a time. The reader waits when
// Limits.QueueBytes wait for the journal, and gRPC's flow control then stops the other side, which in turn holds at most
// Limits.WindowBytes unacknowledged. The reader never waits for the sender, so no circle of waiting can close.
//
// The images of a record that has them (journal.Images) travel before it, in parts that look like records of its id, each
// taken to the disk as it comes (journal.Staging). They are outside of the window. If the link ends in between, they are
// sent anew.
//
// # Verify
//
// Questions about the databases travel on the same links, so that a hub which nobody told about its leaves can still
// compare itself with them (verify.go, differ.go; answering side: answer.go, selection.go).
package forward
