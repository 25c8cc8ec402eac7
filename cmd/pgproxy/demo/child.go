package demo

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// child is a process that the demo started, with its output in a file.
type child struct {
	name string
	log  string
	ask  syscall.Signal // that makes it stop
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

// startChild starts cmd in a process group of its own: a ^C at the terminal is for the demo, which then stops its children
// in order.
func startChild(name string, cmd *exec.Cmd, log string, ask syscall.Signal) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, log: log, ask: ask, cmd: cmd, done: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// alive gives an error with the end of the log if the process has ended.
func (c *child) alive() error {
	select {
	case <-c.done:
		return fmt.Errorf("%s ended: %w\n%s", c.name, c.err, c.tail())
	default:
		return nil
	}
}

// tail is the last lines of the log.
func (c *child) tail() string {
	const lines = 15
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// stop ends the process and waits until it is gone.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(c.ask) // it may have ended
	select {
	case <-c.done:
	case <-time.After(stopGrace):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}
