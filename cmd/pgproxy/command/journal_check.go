package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/journal"
)

func (c *cli) journalCheck() *cobra.Command {
	var dir *dataDir
	var format string
	var child bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Walk the whole journal of a stopped node and say what is damaged",
		Long: `Walk the whole journal of a stopped node: pages, checksums, hash chains, sequences, outcomes, indexes. The walk runs in a
process of its own, because a damaged file can end the process that reads it.

Exit code 0: nothing is wrong. 3: something is; each line says what is lost. 1: it could not be checked.`,
		Example: "  pgproxy journal check --data-dir ./a\n  pgproxy journal check --data-dir ./a -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, client, err := dir.client()
			switch {
			case err != nil:
				return err
			case client != nil:
				return admin.Fail(admin.ExitRefused, "stop it first", "the node of data folder %s is running: its journal cannot be checked from outside", path)
			case child:
				return c.checkHere(path)
			}
			r, err := c.checkJournal(cmd.Context(), path)
			if err != nil {
				return err
			}
			return c.printReport(r, path, format)
		},
	}
	dir = c.dataDir(cmd.Flags())
	c.formatFlag(cmd.Flags(), &format, "table", "json")
	cmd.Flags().BoolVar(&child, "in-this-process", false, "")
	_ = cmd.Flags().MarkHidden("in-this-process") // the flag was just added
	return cmd
}

// checkReport is the answer of the child process, and what -o json promises.
type checkReport struct {
	Records  int64    `json:"records"`
	Problems []string `json:"problems"`
	Error    string   `json:"error,omitempty"` // it could not be checked
}

func (c *cli) checkHere(path string) error {
	out := checkReport{Problems: []string{}}
	r, err := journal.Check(path)
	out.Records = r.Records
	out.Problems = append(out.Problems, r.Problems...)
	if err != nil {
		out.Error = err.Error()
	}
	return writeJSON(c.Stdout, out)
}

// checkJournal runs journal.Check in a child process.
func (c *cli) checkJournal(ctx context.Context, path string) (checkReport, error) {
	file, args, err := c.Executable()
	if err != nil {
		return checkReport{}, fmt.Errorf("find own executable: %w", err)
	}
	cmd := exec.CommandContext(ctx, file, append(args, "journal", "check", "--in-this-process", "--data-dir", path)...)
	cmd.Env = c.Environ
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	if ctx.Err() != nil {
		return checkReport{}, ctx.Err()
	}
	var r checkReport
	if jsonErr := json.Unmarshal(out.Bytes(), &r); jsonErr == nil && err == nil {
		if r.Error != "" {
			return r, admin.Fail(admin.ExitError, "", "check journal in %s: %s", path, r.Error)
		}
		return r, nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return r, fmt.Errorf("run check of the journal: %w", err)
	}
	// It died of what it read.
	return checkReport{Problems: []string{"a file is so damaged that reading it ends the process: " + lastWords(problems.String())}}, nil
}

// lastWords is the line that says why a Go process died.
func lastWords(stderr string) string {
	for _, l := range strings.Split(stderr, "\n") {
		if strings.HasPrefix(l, "panic:") || strings.HasPrefix(l, "fatal error:") || strings.HasPrefix(l, "unexpected fault") || strings.HasPrefix(l, "pgproxy:") {
			return l
		}
	}
	return "it gave no reason"
}

func (c *cli) printReport(r checkReport, path, format string) error {
	if format == "json" {
		if err := writeJSON(c.Stdout, r); err != nil {
			return err
		}
	} else {
		for _, p := range r.Problems {
			fmt.Fprintln(c.Stdout, p)
		}
		if len(r.Problems) == 0 {
			fmt.Fprintf(c.Stdout, "journal in %s: %d records, nothing is wrong\n", path, r.Records)
		}
	}
	if len(r.Problems) > 0 {
		return admin.Fail(admin.ExitDifference, damageHint(path), "journal in %s: %d problems (%d records read)", path, len(r.Problems), r.Records)
	}
	return nil
}

// damageHint says what to do about a damaged journal.
func damageHint(path string) string {
	return "keep a copy of " + path + " as it is; what the lines above do not name is intact and can be read with pgproxy journal ls --data-dir " + path
}
