package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/journal"
)

func (c *cli) auditVerify() *cobra.Command {
	var dir *dataDir
	var format string
	var peers bool
	var files []string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Walk the whole journal and say whether it is as it was written",
		Long: `Walk every entry of the journal, make every hash anew, and hold them against the Merkle tree, the records' own chains, and every
signed checkpoint: those in the journal, those that peers keep (--peers), and those in files (--checkpoint, as "pgproxy audit
checkpoint" prints them). The first entry that is not as it was is named, and what was done: content changed, order changed,
middle removed, tail cut off, replaced by an older copy, forged, rebuilt.

Who can write to the data folder can also read the node's key there, and make everything in it anew. Only checkpoints that
others keep tell that: use --peers, or keep one elsewhere.`,
		Example: `  pgproxy audit verify --data-dir ./a --peers
  pgproxy audit checkpoint --data-dir ./a > a.checkpoint     # kept elsewhere
  pgproxy audit verify --data-dir ./a --checkpoint a.checkpoint`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			outside, err := readEvidence(files)
			if err != nil {
				return err
			}
			v, err := verifyJournal(cmd.Context(), dir, outside, peers)
			if err != nil {
				return err
			}
			return c.printVerified(&v, format)
		},
	}
	dir = c.dataDir(cmd.Flags())
	c.formatFlag(cmd.Flags(), &format, "table", "json")
	cmd.Flags().BoolVar(&peers, "peers", false, "also against what the connected peers keep; the node has to run")
	cmd.Flags().StringArrayVar(&files, "checkpoint", nil, "also against the checkpoint in this `file`; may be given again")
	return cmd
}

// maxNoteBytes bounds a file with a checkpoint.
const maxNoteBytes = 64 << 10

func readEvidence(files []string) ([]journal.Evidence, error) {
	var outside []journal.Evidence
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, auditFail(admin.AuditError, "", "read checkpoint: %w", err)
		}
		if _, err := journal.ParseCheckpoint(b, ""); err != nil || len(b) > maxNoteBytes {
			return nil, auditFail(admin.AuditError, "it is what \"pgproxy audit checkpoint\" prints", "%s holds no checkpoint: %w", file, err)
		}
		outside = append(outside, journal.Evidence{From: "file " + filepath.Base(file), Note: b})
	}
	return outside, nil
}

// asTold keeps the exit code that the node has given.
func asTold(err error) error {
	var e *admin.Error
	if errors.As(err, &e) {
		return decided{e}
	}
	return err
}

func verifyJournal(ctx context.Context, dir *dataDir, outside []journal.Evidence, peers bool) (admin.Verified, error) {
	path, client, err := dir.client()
	if err != nil {
		return admin.Verified{}, err
	}
	if client != nil {
		v, err := client.VerifyJournal(ctx, outside, peers)
		return v, asTold(err)
	}
	if peers {
		return admin.Verified{}, auditFail(admin.AuditGap, "start it, or print what a peer keeps there with pgproxy audit checkpoint --of NODE, and give it as --checkpoint",
			"the node of data folder %s is not running: its peers cannot be asked", path)
	}
	v, err := journal.Verify(ctx, path, outside)
	if err != nil {
		return admin.Verified{}, err
	}
	return admin.NewVerified(&v, func(id journal.ID) string { return id.String() }), nil
}

func (c *cli) printVerified(v *admin.Verified, format string) error {
	if format == "json" {
		if err := writeJSON(c.Stdout, v); err != nil {
			return err
		}
	} else {
		c.printFindings(v)
	}
	switch {
	case v.Tampered:
		f := v.Findings[0]
		return auditFail(admin.AuditTampered, "keep a copy of the data folder as it is; the other nodes have the records that they were sent",
			"the journal is not as it was written: %s at entry %d", f.Attack, f.Position)
	case len(v.Incomplete) > 0:
		return auditFail(admin.AuditGap, "", "the journal could not be verified whole: %s", v.Incomplete[0])
	}
	return nil
}

func (c *cli) printFindings(v *admin.Verified) {
	for _, f := range v.Findings {
		record := ""
		if f.Record != "" {
			record = " (record " + f.Record + ")"
		}
		fmt.Fprintf(c.Stdout, "%s at entry %d%s: %s\n", f.Attack, f.Position, record, f.Detail)
	}
	if v.From > 1 {
		fmt.Fprintf(c.Stdout, "entries 1 to %d are not kept any more; what follows is proven to go on from them\n", v.From-1)
	}
	for _, p := range v.Peers {
		if p.Size > 0 {
			fmt.Fprintf(c.Stdout, "peer %s keeps a checkpoint of %d entries, signed %s\n", p.Peer, p.Size, p.Time.UTC().Format(clock))
		}
	}
	for _, s := range v.Incomplete {
		fmt.Fprintln(c.Stdout, s)
	}
	state := "as they were written"
	if v.Tampered {
		state = "NOT as they were written"
	}
	fmt.Fprintf(c.Stdout, "entries %d to %d, %d records: %s; %d checkpoints agree, the newest covers %d entries\n", v.From, v.To, v.Records, state, v.Checkpoints, v.Signed)
}

func (c *cli) auditCheckpoint() *cobra.Command {
	var dir *dataDir
	var of string
	var key bool
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the newest signed checkpoint of the journal, or of a peer's",
		Long: `Print the newest signed checkpoint: how many entries the journal had at that time, and the root of their Merkle tree. Keep it where
nobody who can write to the data folder can write: "pgproxy audit verify --checkpoint" holds the journal against it. A running
node signs what is new first. The form is a signed note of golang.org/x/mod/sumdb/note, as C2SP's tlog-checkpoint has it.`,
		Example: `  pgproxy audit checkpoint --data-dir ./a > a.checkpoint
  pgproxy audit checkpoint --data-dir ./b --of a      # what b keeps of a
  pgproxy audit checkpoint --data-dir ./a --key       # the public key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newestCheckpoint(cmd.Context(), dir, of)
			if err != nil {
				return err
			}
			text := s.Note
			if key {
				text = s.Key + "\n"
			} else if text == "" {
				return auditFail(admin.AuditNothing, "", "nothing was signed yet")
			}
			_, err = io.WriteString(c.Stdout, text)
			return err
		},
	}
	dir = c.dataDir(cmd.Flags())
	cmd.Flags().StringVar(&of, "of", "", "of this `node`, as it is kept here; the node has to run")
	cmd.Flags().BoolVar(&key, "key", false, "the public key instead")
	return cmd
}

func newestCheckpoint(ctx context.Context, dir *dataDir, of string) (admin.SignedCheckpoint, error) {
	path, client, err := dir.client()
	if err != nil {
		return admin.SignedCheckpoint{}, err
	}
	if client != nil {
		s, err := client.Checkpoint(ctx, of)
		return s, asTold(err)
	}
	r, err := dir.open(path)
	if err != nil {
		return admin.SignedCheckpoint{}, err
	}
	defer r.Close()
	id := r.Identity()
	if of != "" && of != id.Name {
		return admin.SignedCheckpoint{}, auditFail(admin.AuditError, "start it with pgproxy serve", "--of: the node of data folder %s is not running", path)
	}
	return admin.SignedCheckpoint{Node: id.Name, Key: id.Key, Note: string(r.Checkpoint().Note)}, nil
}

func (c *cli) auditProve() *cobra.Command {
	var dir *dataDir
	var check, key string
	cmd := &cobra.Command{
		Use:   "prove ENTRY | --check FILE",
		Short: "Print a proof that an entry is in the journal; check such a proof",
		Long: `Print a proof that an entry is in the journal of which a checkpoint was signed. It can be checked without the journal and without
pgproxy: it has the form of C2SP's tlog-proof@v1, with the entry itself, base64, as its extra data.

  leaf = SHA-256(0x00 || extra)    node = SHA-256(0x01 || left || right)    as in RFC 6962
  from leaf number "index" the hashes lead up to the root in the checkpoint, which is signed with Ed25519

ENTRY is a position in the journal, as ls -o json tells it, or ORIGIN/SEQ. --check says whether a proof is right, and whose it
is: give the node's public key (audit checkpoint --key), else the signature is not checked.`,
		Example: `  pgproxy audit prove --data-dir ./a a/12 > proof.txt
  pgproxy audit prove --check proof.txt --key "$(pgproxy audit checkpoint --data-dir ./a --key)"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (check == "") == (len(args) == 0) {
				return auditFail(admin.AuditError, "", "give either an entry or --check FILE")
			}
			if check != "" {
				return c.checkProof(check, key)
			}
			text, err := prove(cmd.Context(), dir, args[0])
			if err != nil {
				return err
			}
			_, err = io.WriteString(c.Stdout, text)
			return err
		},
	}
	dir = c.dataDir(cmd.Flags())
	cmd.Flags().StringVar(&check, "check", "", "check the proof in this `file`")
	cmd.Flags().StringVar(&key, "key", "", "public `key` of the node")
	return cmd
}

func prove(ctx context.Context, dir *dataDir, entry string) (string, error) {
	path, client, err := dir.client()
	if err != nil {
		return "", err
	}
	if client != nil {
		text, err := client.Prove(ctx, entry)
		return text, asTold(err)
	}
	r, err := dir.open(path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	position, err := positionOf(r, entry)
	if err != nil {
		return "", err
	}
	newest := r.Checkpoint()
	if position > newest.Size {
		return "", auditFail(admin.AuditGap, "start the node: it signs what is new", "entry %d is not signed yet: the newest checkpoint covers %d", position, newest.Size)
	}
	b, err := r.Prove(position, newest)
	return string(b), proveError(err)
}

func (c *cli) checkProof(file, key string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return auditFail(admin.AuditError, "", "read proof: %w", err)
	}
	p, err := journal.CheckProof(b, key)
	if err != nil {
		return auditFail(admin.AuditTampered, "", "the proof does not hold: %w", err)
	}
	what := fmt.Sprintf("entry %d", p.Position)
	if r := p.Record; r != nil && r.Seq > 0 {
		what += fmt.Sprintf(", record %d of node %s", r.Seq, r.Origin)
	}
	fmt.Fprintf(c.Stdout, "%s is in the journal of node %s (%s) as it was signed at %s, with %d entries\n", what, p.Checkpoint.Name, p.Checkpoint.Node,
		p.Checkpoint.Time.UTC().Format(clock), p.Checkpoint.Size)
	if r := p.Record; r != nil && r.Tx != nil {
		fmt.Fprintf(c.Stdout, "user %s, database %s, client %s, %s\n", r.Tx.User, r.Tx.Database, r.Tx.Client, r.Tx.End.UTC().Format(clock))
		for i := range r.Tx.Statements {
			fmt.Fprintf(c.Stdout, "  %s\n", r.Tx.Statements[i].Query)
		}
	}
	if key == "" {
		return auditFail(admin.AuditGap, "pgproxy audit checkpoint --data-dir DIR --key prints it", "the signature was not checked: give the node's public key as --key")
	}
	return nil
}

func (c *cli) auditTrust() *cobra.Command {
	var dir *dataDir
	cmd := &cobra.Command{
		Use:   "trust NODE",
		Short: "Let the checkpoints of a node begin anew, whose journal contradicts what it signed",
		Long: `A node whose journal does not go on from a checkpoint that it signed is refused by every node that keeps one: its past was changed or
cut, or its data folder was put back from a backup. Once it is clear why, and that it is all right, this forgets the checkpoint
that is kept here; the next one is taken as it comes. The act stands in the journal.`,
		Example: "  pgproxy audit trust --data-dir ./a b",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := dir.running()
			if err != nil {
				return err
			}
			if err := client.Trust(cmd.Context(), args[0]); err != nil {
				return asTold(err)
			}
			fmt.Fprintf(c.Stdout, "checkpoints of node %s begin anew\n", args[0])
			return nil
		},
	}
	dir = c.dataDir(cmd.Flags())
	return cmd
}
