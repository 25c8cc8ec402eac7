// Package harness starts the real things and takes them away again: PostgreSQL servers, pgproxy processes, clusters of
// both with links that can be cut.
//
//	        Postgres a        Postgres b        Postgres c        throwaway clusters, as an unprivileged user
//	            |                 |                 |
//	client -> Proxy a <==relay=> Proxy b <==relay=> Proxy c       `pgproxy serve`, a process each
//
// Every process is a child of the test process and dies with it. Everything is on a free port below the ephemeral range,
// in one folder below the temporary folder, removed at cleanup; logs are printed if the test failed. Nothing sleeps:
// WaitFor is the only way to wait, and it names what it waits for.
package harness
