// Package peerpb is what two nodes say to each other: the frames of peer.proto, generated, and the one thing in them that
// is coded by hand, because it is what the bulk consists of: batches of records.
//
//	Frame{Batch}.data --(zstd)--> chunk, chunk, chunk --> payload = version, record, record ...
//	record = origin (16) seq (uvarint) hlc (uvarint) length (uvarint) bytes as the journal keeps them
//
// Records are opaque here: a node passes on what it got, byte for byte.
package peerpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative peer.proto
