package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Process is a child process with its output in a file.
type Process struct {
	Name string
	Log  string // file that takes both outputs
	cmd  *exec.Cmd
	done chan struct{} // closed once the process is reaped
	err  error         // its end; valid once done is closed
}

// spawner starts processes from one operating system thread that lives as long as the test process: the kernel sends the
// parent-death signal when the thread that started a child ends, not the process.
type spawner struct {
	once sync.Once
	jobs chan func()
}

var threads spawner // stateless but for its thread

func (s *spawner) run(f func() error) error {
	s.once.Do(func() {
		s.jobs = make(chan func())
		go func() {
			runtime.LockOSThread()
			for job := range s.jobs {
				job()
			}
		}()
	})
	errs := make(chan error)
	s.jobs <- func() { errs <- f() }
	return <-errs
}

// start runs cmd as a child that gets deathSignal when this process ends, however it ends.
func start(name, log string, cmd *exec.Cmd, deathSignal syscall.Signal) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	defer out.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = deathSignal
	cmd.SysProcAttr.Setpgid = true // a Ctrl-C at the terminal is for the test, which then stops its children in order
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = out
	}
	p := &Process{Name: name, Log: log, cmd: cmd, done: make(chan struct{})}
	if err := threads.run(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode is the code of a process that has ended; -1 if a signal ended it or it runs.
func (p *Process) ExitCode() int {
	if p.Running() {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal; a process that has ended is no error.
func (p *Process) Signal(s syscall.Signal) error {
	if !p.Running() {
		return nil
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Kill9 ends the process at once and waits until it is gone.
func (p *Process) Kill9() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// stop asks the process to end and kills it if it does not within the grace; it reports whether it ended by itself.
func (p *Process) stop(s syscall.Signal, grace time.Duration) bool {
	_ = p.Signal(s)
	select {
	case <-p.done:
		return true
	case <-time.After(grace):
		p.Kill9()
		return false
	}
}

// Unprivileged gives the user that database servers run as: PostgreSQL refuses to run as root. It is nil if this process
// is not root.
func Unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user id of %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("group id of %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("no unprivileged user (postgres, nobody) to run PostgreSQL as")
}
