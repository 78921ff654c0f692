// Package up starts a control plane: etcd, Redis, Kubernetes' API server and controller manager, a kubelet of our
// own, and Argo CD, each as a child process on loopback; then the shop that it deploys.
package up

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	self    = "argocd-rig" // the name of this program in the folder bin
	account = "syncgate"
	// atMost is how long the start may take.
	atMost = 180 * time.Second
)

var (
	errStopped = errors.New("asked to stop")
	errTooLong = fmt.Errorf("not ready after %s", atMost)
)

// Options are the flags of `up`.
type Options struct {
	Dir            string
	Keep           bool
	StopWithStdin  bool
	Children       bool
	AppHealth      bool
	Reconciliation time.Duration
	PathPrefix     string
	PodEnv         list

	bin string // the folder of this program
}

// list is a flag that may be given more than once.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds one value.
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// Main runs the command and returns its exit code.
func Main(args []string) int {
	var o Options
	flags := flag.NewFlagSet("up", flag.ExitOnError)
	flags.StringVar(&o.Dir, "dir", "", "folder for all state; new or empty (default: a new one below TMPDIR)")
	flags.BoolVar(&o.Keep, "keep", false, "leave the state folder when stopping; one given by --dir is always left")
	flags.BoolVar(&o.StopWithStdin, "stop-with-stdin", false, "stop when standard input reaches its end")
	flags.BoolVar(&o.Children, "children", true, "create the child Applications, unsynced; else the parents' syncs do")
	flags.BoolVar(&o.AppHealth, "application-health", false, "let a parent wait for the health of its children")
	flags.DurationVar(&o.Reconciliation, "reconciliation", 10*time.Second, "how often Argo CD compares with Git")
	flags.StringVar(&o.PathPrefix, "path-prefix", "", "folder put first in PATH of containers, such as a venv's bin")
	flags.Var(&o.PodEnv, "pod-env", "KEY=VALUE in the environment of every container; may be repeated")
	_ = flags.Parse(args) // ExitOnError
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "rig: up takes no argument, but got %q\n", flags.Arg(0))
		return 2
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		return 1
	}
	return 0
}

func run(o Options) error {
	l, err := newLayout(o.Dir)
	if err != nil {
		return err
	}
	if o.Dir == "" && !o.Keep {
		defer os.RemoveAll(l.root)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	stopWhenAsked(stop, o.StopWithStdin)

	executable, err := os.Executable()
	if err != nil {
		return err
	}
	o.bin = filepath.Dir(executable)
	s, err := newSupervisor(o.bin, l.logs, func(err error) { stop(err) })
	if err != nil {
		return err
	}
	defer func() {
		say("stopping")
		s.stop()
	}()

	starting, cancel := context.WithTimeoutCause(ctx, atMost, errTooLong)
	report, err := start(starting, s, l, o)
	cancel()
	if ctx.Err() != nil {
		return whyEnded(ctx) // and not how the stage took it
	}
	if err != nil {
		return err
	}
	line, err := json.Marshal(report)
	if err != nil {
		return err
	}
	fmt.Println(string(line))

	<-ctx.Done()
	return whyEnded(ctx)
}

// whyEnded is nil when somebody asked for the end, or else what broke.
func whyEnded(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errStopped) {
		return cause
	}
	return nil
}

// stopWhenAsked ends the run on a signal or, if told to, at the end of standard input.
func stopWhenAsked(stop context.CancelCauseFunc, withStdin bool) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		<-signals
		stop(errStopped)
	}()
	if withStdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // an error ends it like its end
			stop(errStopped)
		}()
	}
}

var began = time.Now()

// say tells on standard error what is being done.
func say(what string) {
	fmt.Fprintf(os.Stderr, "rig: %5.1f s  %s\n", time.Since(began).Seconds(), what)
}
