// Command pgproxy stands between the applications of a host and its PostgreSQL, and keeps the databases of several hosts in
// agreement. See the package command for its verbs, and the README for what it promises.
package main

import (
	"os"

	"pgproxy/cmd/pgproxy/command"
)

func main() {
	os.Exit(command.Main(os.Args[1:], command.System()))
}
