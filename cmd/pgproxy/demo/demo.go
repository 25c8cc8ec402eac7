package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// database is the one the story is about.
const database = "shop"

// Options is what a demo needs.
type Options struct {
	Out, Err io.Writer
	// Executable and Args start pgproxy again.
	Executable string
	Args       []string
	// Command runs one of pgproxy's commands here and gives its exit code.
	Command func(ctx context.Context, args ...string) int
	Keep    bool // leave everything up until ctx ends
	Now     func() time.Time
}

// demo is what has been started.
type demo struct {
	Options
	place  *place
	nodes  []*node
	relays []*relay // between c and the others
}

// Run tells the story. It returns when everything it started is gone.
func Run(ctx context.Context, o Options) error {
	bin, err := findBinaries(ctx)
	if err != nil {
		return err
	}
	p, err := newPlace()
	if err != nil {
		return err
	}
	d := &demo{Options: o, place: p}
	defer d.clean()
	start := o.Now()
	if err := d.start(ctx, bin); err != nil {
		return err
	}
	if err := d.story(ctx); err != nil {
		if ctx.Err() == nil {
			d.evidence()
		}
		return err
	}
	fmt.Fprintf(o.Out, "\nThat took %.0f seconds.\n", o.Now().Sub(start).Seconds())
	if o.Keep {
		d.keep()
		<-ctx.Done()
		fmt.Fprintln(o.Err, "removing everything")
	}
	return nil
}

// start brings up three databases, then three proxies.
func (d *demo) start(ctx context.Context, bin string) error {
	d.heading("Three hosts, each with its own PostgreSQL and its own pgproxy")
	for _, name := range []string{"a", "b", "c"} {
		peers, err := freeAddr()
		if err != nil {
			return err
		}
		d.nodes = append(d.nodes, &node{name: name, dataDir: filepath.Join(d.place.folder, name), peers: peers, conns: map[string]*pgx.Conn{}})
	}
	if err := each(d.nodes, func(n *node) error { return d.startDatabase(ctx, bin, n) }); err != nil {
		return err
	}
	if err := d.startProxies(ctx); err != nil {
		return err
	}
	for _, n := range d.nodes {
		fmt.Fprintf(d.Out, "  clients ── %s ── pgproxy %s ── PostgreSQL %s\n", n.addr, n.name, n.name)
	}
	return nil
}

func (d *demo) startDatabase(ctx context.Context, bin string, n *node) error {
	folder, err := d.place.sub("db-" + n.name)
	if err != nil {
		return err
	}
	if n.db, err = newCluster(ctx, bin, folder, d.place.as); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, n.db.conninfo("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+database); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	return nil
}

// startProxies starts the proxies; between c and the others stands a relay in each direction.
func (d *demo) startProxies(ctx context.Context) error {
	for _, n := range d.nodes {
		var peers []string
		for _, p := range d.nodes {
			if p == n {
				continue
			}
			addr := p.peers
			if n.name == "c" || p.name == "c" {
				r, err := newRelay(p.peers)
				if err != nil {
					return err
				}
				d.relays = append(d.relays, r)
				addr = r.addr()
			}
			peers = append(peers, p.name+"="+addr)
		}
		if err := n.serve(ctx, d.Executable, d.Args, peers); err != nil {
			return err
		}
	}
	return each(d.nodes, func(n *node) error { return n.ready(ctx) })
}

// each calls f for all nodes at once and gives their errors.
func each(nodes []*node, f func(*node) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = f(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (d *demo) setCut(cut bool) {
	for _, r := range d.relays {
		r.setCut(cut)
	}
}

func (d *demo) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	_ = each(d.nodes, func(n *node) error { n.stop(ctx); return nil })
	for _, r := range d.relays {
		r.close()
	}
	d.place.remove()
}

// evidence shows the ends of the logs of a story that went wrong.
func (d *demo) evidence() {
	for _, n := range d.nodes {
		if n.proxy != nil {
			fmt.Fprintf(d.Err, "\nlog of pgproxy %s:\n%s\n", n.name, n.proxy.tail())
		}
	}
}

func (d *demo) keep() {
	fmt.Fprintln(d.Out, "\nEverything stays up until ^C. Try:")
	for _, n := range d.nodes {
		fmt.Fprintf(d.Out, "  psql %s\n", n.url("alice"))
	}
	for _, n := range d.nodes {
		fmt.Fprintf(d.Out, "  pgproxy journal ls --data-dir %s\n", n.dataDir)
	}
}
