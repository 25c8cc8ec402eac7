// Package command is the command line: one file per verb.
//
//	main ── Main(args, Environment) ── root (cobra) ──┬── serve     wires the rooms; nothing else does
//	                                                  ├── journal   ls show tail check stats ┐
//	                                                  ├── audit     its own group, audit.go    │ over the admin socket while
//	                                                  ├── status, conflicts                  ┘ serve runs, else from the files
//	                                                  ├── drain, verify, explain               over the admin socket
//	                                                  ├── doctor                               over it, or of any server
//	                                                  └── demo, version, completion
//
// Data goes to standard output, everything else to standard error. A command says what failed and what to do next, and ends
// with one of the exit codes of package admin
// (the audit commands have codes of their own, admin.AuditError and its neighbours):
//
//	0 ok   1 error   2 usage   3 difference, damage, not drained   4 unreachable   5 refused by a safety check   130 interrupted
package command
