// The order in which everything comes up.

package up

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"path/filepath"

	"syncgate.dev/tests/argocd/fixtures"
	"syncgate.dev/tests/argocd/kubelet"
)

// A starter holds what the stages share. Each stage needs the ones before it.
type starter struct {
	*supervisor
	options  Options
	layout   layout
	ports    ports
	cluster  cluster
	clients  clients
	https    *http.Client // trusts our own authority
	git      map[string]Repository
	url      string // of argocd-server
	password string // of its administrator
	token    string // of its account
}

// start brings everything up and returns what to report.
func start(ctx context.Context, s *supervisor, l layout, o Options) (*Report, error) {
	r := &starter{supervisor: s, options: o, layout: l}
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"preparing keys, images and Git repositories", r.prepare},
		{"starting etcd and Redis", r.startStores},
		{"starting kube-apiserver", r.startAPIServer},
		{"starting kube-controller-manager and kubelet", r.startKubernetes},
		{"installing Argo CD's custom resources, roles and settings", r.installArgoCD},
		{"starting Argo CD", r.startArgoCD},
		{"creating the shop", r.createShop},
	} {
		say(stage.name)
		if err := stage.run(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", stage.name, err)
		}
	}
	say("ready")
	return r.report(), nil
}

func (r *starter) prepare(context.Context) (err error) {
	if r.ports, err = freePorts(); err != nil {
		return err
	}
	if r.cluster, err = newCluster(r.layout, r.ports); err != nil {
		return err
	}
	if r.clients, err = r.cluster.connect(); err != nil {
		return err
	}
	if r.https, err = trusting(r.cluster.ca.path); err != nil {
		return err
	}
	if err := fixtures.WriteImages(r.layout.images); err != nil {
		return err
	}
	r.git, err = createRepositories(r.layout)
	r.password, r.url = rand.Text(), fmt.Sprintf("https://localhost:%d", r.ports.argocd)
	return err
}

func (r *starter) startStores(ctx context.Context) error {
	if err := r.start(etcd(r.layout, r.ports), miniredis(r.ports)); err != nil {
		return err
	}
	if err := r.wait(ctx, "miniredis", accepts(loopback(r.ports.redis))); err != nil {
		return err
	}
	return r.wait(ctx, "etcd", answers200(http.DefaultClient, "http://"+loopback(r.ports.etcd)+"/health"))
}

func (r *starter) startAPIServer(ctx context.Context) error {
	if err := r.start(kubeAPIServer(r.cluster, r.ports)); err != nil {
		return err
	}
	return r.wait(ctx, "kube-apiserver", readyz(r.clients))
}

func (r *starter) startKubernetes(ctx context.Context) error {
	namespaces := []string{argocdNamespace}
	for _, environment := range fixtures.Environments {
		namespaces = append(namespaces, fixtures.Namespace(environment))
	}
	if err := createNamespaces(ctx, r.clients, namespaces...); err != nil {
		return err
	}
	if err := r.start(kubeControllerManager(r.cluster), kubeletRunner(r.layout, r.cluster, r.ports, r.options)); err != nil {
		return err
	}
	if err := r.wait(ctx, "kube-controller-manager", hasDefaultAccounts(r.clients, namespaces...)); err != nil {
		return err
	}
	return r.wait(ctx, self, hasNode(r.clients, kubelet.NodeName))
}

func (r *starter) installArgoCD(ctx context.Context) error {
	settings, err := argocdSettings(r.url, account, r.password, r.options)
	if err != nil {
		return err
	}
	manifest := filepath.Join(filepath.Dir(r.bin), "argo-cd", "install.yaml")
	if err := install(ctx, r.clients, manifest, settings); err != nil {
		return err
	}
	if err := serveTLS(ctx, r.clients, r.cluster.serving); err != nil {
		return err
	}
	if err := openDiscovery(ctx, r.clients); err != nil {
		return err
	}
	if err := r.cluster.asServiceAccounts(ctx, r.clients, argocdAccounts...); err != nil {
		return err
	}
	return r.wait(ctx, "kube-apiserver", servesApplications(r.clients))
}

func (r *starter) startArgoCD(ctx context.Context) (err error) {
	l, k, p, o := r.layout, r.cluster, r.ports, r.options
	if err := r.start(
		argocdRepoServer(l, p, o), argocdApplicationController(l, k, p, o),
		argocdApplicationSetController(l, k, p, o), argocdServer(l, k, p, o),
	); err != nil {
		return err
	}
	for _, part := range []struct{ name, health string }{
		{"argocd-repo-server", "http://" + loopback(p.repoMetrics) + "/healthz"},
		{"argocd-application-controller", "http://" + loopback(p.controllerMetrics) + "/healthz"},
		{"argocd-applicationset-controller", "http://" + loopback(p.appsetMetrics) + "/metrics"}, // it has no health check
		{"argocd-server", r.url + "/healthz?full=true"},
	} {
		if err := r.wait(ctx, part.name, answers200(r.https, part.health)); err != nil {
			return err
		}
	}
	r.token, err = accountToken(ctx, r.https, r.url, r.password, account)
	return err
}

func (r *starter) createShop(ctx context.Context) error {
	if err := createApplications(ctx, r.clients, r.layout.gitURL(), r.options.Children); err != nil {
		return err
	}
	return r.wait(ctx, "argocd-application-controller", compared(r.clients))
}

func (r *starter) report() *Report {
	return &Report{
		Dir: r.layout.root, Bin: r.bin, CLI: filepath.Join(r.bin, "argocd"), Images: r.layout.images, Logs: r.layout.logs,
		ArgoCD: ArgoCD{
			URL: r.url, CA: r.cluster.ca.path, Username: "admin", Password: r.password,
			Account: account, AccountToken: r.token, RepoServerPort: r.ports.repo, RedisPort: r.ports.redis,
		},
		Kubernetes: Kubernetes{
			URL: r.cluster.url, CA: r.cluster.ca.path, Kubeconfig: r.cluster.kubeconfig, Token: r.cluster.adminToken,
			ServiceAccountIssuer: r.cluster.issuer(), JWKSURI: r.cluster.jwksURI(),
		},
		Git:      Git{Root: r.layout.git, Repositories: r.git},
		Versions: versions(),
	}
}
