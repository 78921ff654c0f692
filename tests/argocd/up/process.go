// Child processes: each in a process group of its own, with a log file, watched, and none left behind.

package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a component may take to stop before it is killed: all state is thrown away anyway.
const patience = 3 * time.Second

type component struct {
	name string
	args []string
	env  []string
}

type child struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

type supervisor struct {
	bin    string
	logs   string
	onExit func(error) // called when a child ends that nobody stopped

	mu       sync.Mutex
	stopping bool
	children []*child
}

// newSupervisor makes this process the one that inherits orphans of its children, so that stop can find them.
func newSupervisor(bin, logs string, onExit func(error)) (*supervisor, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot become the reaper of orphaned processes: %w", err)
	}
	return &supervisor{bin: bin, logs: logs, onExit: onExit}, nil
}

// start runs programs of the folder bin.
func (s *supervisor) start(components ...component) error {
	for _, c := range components {
		if err := s.startOne(c); err != nil {
			return err
		}
	}
	return nil
}

// startOne runs a program; the kernel kills it when this process dies.
func (s *supervisor) startOne(c component) error {
	logPath := filepath.Join(s.logs, c.name+".log")
	logFile, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer logFile.Close()

	cmd := exec.Command(filepath.Join(s.bin, c.name), c.args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	ch := &child{name: c.name, log: logPath, cmd: cmd, done: make(chan struct{})}

	started := make(chan error)
	go func() {
		// Pdeathsig counts from the thread that forked: keep that thread as long as the child.
		runtime.LockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		err := cmd.Wait()
		close(ch.done)
		s.ended(ch, err)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("cannot start %s: %w", c.name, err)
	}
	s.mu.Lock()
	s.children = append(s.children, ch)
	s.mu.Unlock()
	return nil
}

func (s *supervisor) ended(c *child, err error) {
	s.mu.Lock()
	stopping := s.stopping
	s.mu.Unlock()
	if stopping {
		return
	}
	how := "exit status 0"
	if err != nil {
		how = err.Error()
	}
	s.onExit(fmt.Errorf("%s ended by itself (%s); the end of its log:\n%s", c.name, how, tail(c.log, 30)))
}

// wait repeats a check; when time runs out, the error shows the log of the child that is waited for.
func (s *supervisor) wait(ctx context.Context, name string, ready check) error {
	err := wait(ctx, ready)
	if errors.Is(err, errTooLong) {
		return fmt.Errorf("%s: %w; the end of its log:\n%s", name, err, tail(filepath.Join(s.logs, name+".log"), 30))
	}
	return err
}

// stop ends all children, the last started first, and whatever they left running.
func (s *supervisor) stop() {
	s.mu.Lock()
	s.stopping = true
	children := s.children
	s.mu.Unlock()

	for i := len(children) - 1; i >= 0; i-- {
		_ = syscall.Kill(-children[i].cmd.Process.Pid, syscall.SIGTERM)
	}
	deadline := time.After(patience)
	for _, c := range children {
		select {
		case <-c.done:
		case <-deadline:
			deadline = closed // for all that come after it, too
			_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
			<-c.done
		}
	}
	killDescendants()
}

// closed is a deadline that has passed.
var closed = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// killDescendants kills every process whose parent we are until there is none: killing one may hand us its children.
func killDescendants() {
	for {
		pids := childrenOf(os.Getpid())
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			for {
				_, err := syscall.Wait4(pid, nil, 0, nil)
				if !errors.Is(err, syscall.EINTR) {
					break
				}
			}
		}
	}
}

func childrenOf(parent int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	var pids []int
	for _, stat := range stats {
		data, err := os.ReadFile(stat)
		if err != nil {
			continue // ended meanwhile
		}
		// pid (name) state ppid ...; the name may hold spaces and parentheses
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// tail returns the last lines of a file, for an error message.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n") + "\n(with --keep, all of it stays in " + path + ")"
}
