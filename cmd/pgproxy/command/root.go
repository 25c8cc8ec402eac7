package command

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pgproxy/cmd/pgproxy/admin"
)

// exitInterrupted is the shell's code for a program ended by ^C.
const exitInterrupted = 130

// Main runs one command line and gives its exit code.
func Main(args []string, env Environment) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return Run(ctx, args, env)
}

// Run is Main with the caller's context in place of the signals: its end is the interrupt.
func Run(ctx context.Context, args []string, env Environment) int {
	c := &cli{Environment: env}
	root := c.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return admin.ExitOK
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(env.Stderr, "pgproxy: interrupted")
		return exitInterrupted
	}
	e := admin.AsError(err)
	if !c.started {
		e = &admin.Error{Message: err.Error(), Hint: "pgproxy --help lists the commands; pgproxy COMMAND --help its flags", Code: admin.ExitUsage}
		if len(args) > 0 && args[0] == "audit" {
			e.Code = admin.AuditError
		}
	}
	fmt.Fprintln(env.Stderr, "pgproxy:", e.Message)
	if e.Hint != "" {
		fmt.Fprintln(env.Stderr, "HINT:", e.Hint)
	}
	return e.Code
}

// cli is what the commands share.
type cli struct {
	Environment
	started bool // the command line was understood: from here on an error is no longer one of usage
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgproxy",
		Short: "PostgreSQL on several hosts, written everywhere, in agreement",
		Long: `pgproxy stands between the applications of a host and its PostgreSQL. It lets them read and write locally, also while
the other hosts cannot be reached, brings the databases of all hosts into agreement, and keeps a journal of who changed
what, with which statement.`,
		Example: `  pgproxy demo
  pgproxy serve --node a --upstream 'host=/var/run/postgresql' --data-dir ./a
  pgproxy journal ls --data-dir ./a --since 10m
  pgproxy status --data-dir ./a`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			c.started = true
		},
	}
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.AddCommand(c.serve(), c.journal(), c.audit(), c.status(), c.drain(), c.verify(), c.conflicts(), c.explain(), c.doctor(), c.demo(), c.version())
	root.InitDefaultCompletionCmd()
	return root
}

// group makes a command that only holds others.
func group(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		}
		return errors.New(cmd.CommandPath() + " needs a command")
	}
	cmd.RunE = func(*cobra.Command, []string) error { return nil }
	cmd.AddCommand(children...)
	return cmd
}
