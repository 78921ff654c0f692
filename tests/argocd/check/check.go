// Package check tries what a control plane of the rig promises, from outside: with the stock CLI, with Git, and over
// HTTP. It is the rig's own smoke test.
package check

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"syncgate.dev/tests/argocd/up"
)

// stopWithin is how long a control plane may take to end.
const stopWithin = 30 * time.Second

// Main runs the command and returns its exit code.
func Main(args []string) int {
	flags := flag.NewFlagSet("check", flag.ExitOnError)
	pathPrefix := flags.String("path-prefix", "", "folder put first in PATH of containers: the bin of a venv that has pytest")
	_ = flags.Parse(args) // ExitOnError
	if err := run(*pathPrefix); err != nil {
		fmt.Fprintln(os.Stderr, "check: FAILED:", err)
		return 1
	}
	fmt.Println("check: all passed")
	return 0
}

func run(pathPrefix string) (err error) {
	plane, err := start(pathPrefix)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, step("it stops, leaves no process and no file", plane.stop))
	}()
	if err := os.Mkdir(plane.home(), 0o755); err != nil {
		return err
	}
	for _, s := range []struct {
		what string
		try  func() error
	}{
		{"the stock CLI signs in", plane.signIn},
		{"the parent's sync adopts its children", plane.syncParent},
		{"a child's sync runs pytest in its PostSync Job", plane.syncChild},
		{"the CLI shows the log of that Job", plane.showLog},
		{"an application on two sources syncs", plane.syncTwoSources},
		{"a bad commit makes the tests fail, and the sync with them", plane.failTests},
		{"the issuer's keys verify service account tokens", plane.discoverKeys},
	} {
		if err := step(s.what, s.try); err != nil {
			return err
		}
	}
	return nil
}

func step(what string, try func() error) error {
	began := time.Now()
	if err := try(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Printf("check: %5.1f s  %s\n", time.Since(began).Seconds(), what)
	return nil
}

// plane is a running control plane.
type plane struct {
	up.Report
	process *exec.Cmd
}

func start(pathPrefix string) (*plane, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &plane{process: exec.Command(executable, "up", "--path-prefix="+pathPrefix)}
	p.process.Stderr = os.Stderr
	p.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return nil, errors.Join(errors.New("it did not start"), p.process.Wait())
	}
	if err != nil {
		return nil, err
	}
	return p, json.Unmarshal(line, &p.Report)
}

// stop ends it as a test would, and looks for what it left.
func (p *plane) stop() error {
	if err := p.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- p.process.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			return err
		}
	case <-time.After(stopWithin):
		return fmt.Errorf("it still runs %s after SIGTERM", stopWithin)
	}
	if left := processesOf(p.Dir); len(left) > 0 {
		return fmt.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
	}
	if _, err := os.Stat(p.Dir); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the folder %s is left", p.Dir)
	}
	return nil
}

// processesOf lists the processes that name the folder in their arguments or environment, or work in it.
func processesOf(dir string) []string {
	folders, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	var found []string
	for _, folder := range folders {
		// A process that has ended meanwhile reads as nothing.
		cmdline, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(folder, "environ"))
		cwd, _ := os.Readlink(filepath.Join(folder, "cwd"))
		if strings.Contains(string(cmdline)+string(environ)+cwd, dir) {
			found = append(found, filepath.Base(folder)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}
