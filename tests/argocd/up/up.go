// Package up starts a control plane: etcd, Redis, Kubernetes' API server and controller manager, a kubelet of our
// own, and Argo CD, each as a child process on loopback; then the shop that it deploys.
package up

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"syncgate.dev/tests/argocd/fixtures"
	"syncgate.dev/tests/argocd/kubelet"
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
	if errors.Is(err, errStopped) {
		return nil
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
	if cause := context.Cause(ctx); !errors.Is(cause, errStopped) {
		return cause
	}
	return nil
}

// start brings everything up, in order, and returns what to report.
func start(ctx context.Context, s *supervisor, l layout, o Options) (*Report, error) {
	p, err := freePorts()
	if err != nil {
		return nil, err
	}
	k, err := newCluster(l, p)
	if err != nil {
		return nil, err
	}
	c, err := k.connect()
	if err != nil {
		return nil, err
	}
	https, err := trusting(k.ca.path)
	if err != nil {
		return nil, err
	}
	if err := fixtures.WriteImages(l.images); err != nil {
		return nil, err
	}
	repositories, err := createRepositories(l)
	if err != nil {
		return nil, err
	}
	password, argocdURL := rand.Text(), fmt.Sprintf("https://localhost:%d", p.argocd)
	configured, err := argocdSettings(argocdURL, account, password, o.Reconciliation)
	if err != nil {
		return nil, err
	}
	namespaces := []string{argocdNamespace}
	for _, environment := range fixtures.Environments {
		namespaces = append(namespaces, fixtures.Namespace(environment))
	}
	var token string

	for _, stage := range []struct {
		what  string
		steps []func() error
	}{
		{"etcd and Redis", []func() error{
			func() error { return s.start(etcd(l, p)) },
			func() error { return s.start(miniredis(p)) },
			func() error {
				return s.wait(ctx, "etcd", answers200(http.DefaultClient, "http://"+loopback(p.etcd)+"/health"))
			},
			func() error { return s.wait(ctx, "miniredis", accepts(loopback(p.redis))) },
		}},
		{"kube-apiserver", []func() error{
			func() error { return s.start(kubeAPIServer(k, p)) },
			func() error { return s.wait(ctx, "kube-apiserver", readyz(c)) },
		}},
		{"kube-controller-manager and kubelet", []func() error{
			func() error { return createNamespaces(ctx, c, namespaces...) },
			func() error { return s.start(kubeControllerManager(k)) },
			func() error { return s.start(kubeletRunner(l, k, p, o)) },
			func() error { return s.wait(ctx, "kube-controller-manager", hasDefaultAccounts(c, namespaces...)) },
			func() error { return s.wait(ctx, self, hasNode(c, kubelet.NodeName)) },
		}},
		{"Argo CD's custom resources, roles and settings", []func() error{
			func() error {
				return install(ctx, c, filepath.Join(filepath.Dir(s.bin), "argo-cd", "install.yaml"), configured)
			},
			func() error { return serveTLS(ctx, c, k.serving) },
			func() error { return openDiscovery(ctx, c) },
			func() error {
				return k.asServiceAccounts(ctx, c, "argocd-server", "argocd-application-controller", "argocd-applicationset-controller")
			},
			func() error { return s.wait(ctx, "kube-apiserver", servesApplications(c)) },
		}},
		{"Argo CD", []func() error{
			func() error { return s.start(argocdRepoServer(l, k, p, o)) },
			func() error { return s.start(argocdApplicationController(l, k, p, o)) },
			func() error { return s.start(argocdApplicationSetController(l, k, p, o)) },
			func() error { return s.start(argocdServer(l, k, p, o)) },
			func() error {
				return s.wait(ctx, "argocd-repo-server", answers200(http.DefaultClient, "http://"+loopback(p.repoMetrics)+"/healthz"))
			},
			func() error {
				return s.wait(ctx, "argocd-application-controller", answers200(http.DefaultClient, "http://"+loopback(p.controllerMetrics)+"/healthz"))
			},
			func() error {
				return s.wait(ctx, "argocd-applicationset-controller", answers200(http.DefaultClient, "http://"+loopback(p.appsetMetrics)+"/metrics"))
			},
			func() error { return s.wait(ctx, "argocd-server", answers200(https, argocdURL+"/healthz?full=true")) },
			func() (err error) {
				token, err = accountToken(ctx, https, argocdURL, password, account)
				return err
			},
		}},
		{"the shop", []func() error{
			func() error { return createApplications(ctx, c, l.gitURL(), o.Children) },
			func() error { return s.wait(ctx, "argocd-application-controller", compared(c)) },
		}},
	} {
		say("starting " + stage.what)
		for _, step := range stage.steps {
			if err := step(); err != nil {
				return nil, fmt.Errorf("starting %s: %w", stage.what, err)
			}
		}
	}
	say("ready")

	return &Report{
		Dir: l.root, Bin: s.bin, CLI: filepath.Join(s.bin, "argocd"), Images: l.images, Logs: l.logs,
		ArgoCD: ArgoCD{
			URL: argocdURL, CA: k.ca.path, Username: "admin", Password: password,
			Account: account, AccountToken: token,
		},
		Kubernetes: Kubernetes{
			URL: k.url, CA: k.ca.path, Kubeconfig: k.kubeconfig, Token: k.adminToken,
			ServiceAccountIssuer: k.issuer(), JWKSURI: k.jwksURI(),
		},
		Git:      Git{Root: l.git, Repositories: repositories},
		Versions: versions(),
	}, nil
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

// versions are read from the modules that this program was built from.
func versions() Versions {
	var v Versions
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		switch module.Path {
		case "github.com/argoproj/argo-cd/v3":
			v.ArgoCD = module.Version
		case "k8s.io/kubernetes":
			v.Kubernetes = module.Version
		case "go.etcd.io/etcd/server/v3":
			v.Etcd = module.Version
		}
	}
	return v
}

var began = time.Now()

// say tells on standard error what is being done.
func say(what string) {
	fmt.Fprintf(os.Stderr, "rig: %5.1f s  %s\n", time.Since(began).Seconds(), what)
}
