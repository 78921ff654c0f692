// The flags and environment of every component.

package up

import (
	"os"
	"path/filepath"
	"strconv"

	"syncgate.dev/tests/argocd/kubelet"
)

func etcd(l layout, p ports) component {
	client, peer := "http://"+loopback(p.etcd), "http://"+loopback(p.etcdPeer)
	return component{name: "etcd", args: []string{
		"--name=rig", "--data-dir=" + l.etcd,
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=rig=" + peer,
		"--unsafe-no-fsync", "--log-level=warn",
	}}
}

func miniredis(p ports) component {
	return component{name: "miniredis", args: []string{"--listen=" + loopback(p.redis)}}
}

func kubeAPIServer(k cluster, p ports) component {
	return component{name: "kube-apiserver", args: []string{
		"--etcd-servers=http://" + loopback(p.etcd),
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(p.apiserver),
		"--tls-cert-file=" + k.serving.public, "--tls-private-key-file=" + k.serving.private,
		"--client-ca-file=" + k.ca.path, "--token-auth-file=" + k.tokenFile,
		"--authorization-mode=RBAC",
		"--service-account-issuer=" + k.issuer(), "--service-account-jwks-uri=" + k.jwksURI(),
		"--service-account-key-file=" + k.signing.public, "--service-account-signing-key-file=" + k.signing.private,
		"--service-cluster-ip-range=10.96.0.0/24",
		"--endpoint-reconciler-type=none", // its own address is loopback, which may not be an endpoint
		"--kubelet-certificate-authority=" + k.ca.path,
		"--kubelet-client-certificate=" + k.serving.public, "--kubelet-client-key=" + k.serving.private,
		"--kubelet-preferred-address-types=InternalIP",
		"--shutdown-delay-duration=0s",
	}}
}

func kubeControllerManager(k cluster) component {
	return component{name: "kube-controller-manager", args: []string{
		"--kubeconfig=" + k.kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller," +
			"serviceaccount-token-controller,job-controller,root-ca-certificate-publisher-controller",
		"--service-account-private-key-file=" + k.signing.private, "--root-ca-file=" + k.ca.path,
		"--use-service-account-credentials=false",
	}}
}

func kubeletRunner(l layout, k cluster, p ports, o Options) component {
	args := []string{
		kubelet.Name, "--kubeconfig=" + k.kubeconfig, "--images=" + l.images, "--state=" + l.pods,
		"--listen=" + loopback(p.kubelet), "--api=" + loopback(p.apiserver),
		"--cert=" + k.serving.public, "--key=" + k.serving.private, "--client-ca=" + k.ca.path,
		"--path-prefix=" + o.PathPrefix,
	}
	for _, pair := range o.PodEnv {
		args = append(args, "--pod-env="+pair)
	}
	return component{name: self, args: args}
}

// argocdEnv is what all parts of Argo CD need to live outside a cluster and to be quick.
func argocdEnv(l layout, p ports, kubeconfig string, o Options) []string {
	return []string{
		"PATH=" + o.bin + string(os.PathListSeparator) + os.Getenv("PATH"), // kustomize and the wrapper scripts are there
		"KUBECONFIG=" + kubeconfig,
		"ARGOCD_FAKE_IN_CLUSTER=true", // "in-cluster" is the cluster of KUBECONFIG
		"REDIS_SERVER=" + loopback(p.redis),
		"TMPDIR=" + l.tmp,
		"HOME=" + l.argocd,
		"ARGOCD_TLS_DATA_PATH=" + filepath.Join(l.argocd, "tls"),
		"ARGOCD_SSH_DATA_PATH=" + filepath.Join(l.argocd, "ssh"),
		"ARGOCD_APP_CONF_PATH=" + filepath.Join(l.argocd, "config"),
		"ARGOCD_PLUGINSOCKFILEPATH=" + filepath.Join(l.argocd, "plugins"),
		"ARGOCD_GPG_ENABLED=false", // no fixture is signed, and gpg need not be installed
		"ARGOCD_RECONCILIATION_TIMEOUT=" + o.Reconciliation.String(),
		"ARGOCD_RECONCILIATION_JITTER=0s",
		"ARGOCD_APPLICATIONSET_CONTROLLER_REQUEUE_AFTER=" + o.Reconciliation.String(),
		"ARGOCD_SYNC_WAVE_DELAY=0",
		// Or a sync takes the Job of the sync before for its own, and ends before its tests have: what the controller
		// knows of the cluster is up to 100 ms old otherwise, and it goes on faster than that here.
		"ARGOCD_CLUSTER_CACHE_BATCH_EVENTS_PROCESSING=false",
	}
}

func argocdServer(l layout, k cluster, p ports, o Options) component {
	return component{name: "argocd-server", env: argocdEnv(l, p, k.kubeconfigOf("argocd-server"), o), args: []string{
		"--address=127.0.0.1", "--port=" + strconv.Itoa(p.argocd),
		"--metrics-address=127.0.0.1", "--metrics-port=" + strconv.Itoa(p.argocdMetrics),
		"--repo-server=" + loopback(p.repo),
		"--staticassets=" + filepath.Join(l.argocd, "assets"),
		"--hydrator-enabled", // or the calls about repositories to write to are not there; nothing here hydrates
	}}
}

// argocdRepoServer does not talk to the Kubernetes API.
func argocdRepoServer(l layout, p ports, o Options) component {
	return component{name: "argocd-repo-server", env: argocdEnv(l, p, "", o), args: []string{
		"--address=127.0.0.1", "--port=" + strconv.Itoa(p.repo),
		"--metrics-address=127.0.0.1", "--metrics-port=" + strconv.Itoa(p.repoMetrics),
		"--client-ca-path=", // whoever reaches it may ask, with the certificate that it makes for itself
	}}
}

func argocdApplicationController(l layout, k cluster, p ports, o Options) component {
	const name = "argocd-application-controller"
	return component{name: name, env: argocdEnv(l, p, k.kubeconfigOf(name), o), args: []string{
		"--metrics-port=" + strconv.Itoa(p.controllerMetrics), // on all interfaces: there is no flag for the address
		"--repo-server=" + loopback(p.repo),
	}}
}

func argocdApplicationSetController(l layout, k cluster, p ports, o Options) component {
	const name = "argocd-applicationset-controller"
	return component{name: name, env: argocdEnv(l, p, k.kubeconfigOf(name), o), args: []string{
		"--metrics-addr=" + loopback(p.appsetMetrics), "--probe-addr=" + loopback(p.appsetProbe),
		"--webhook-addr=" + loopback(p.appsetWebhook),
		"--argocd-repo-server=" + loopback(p.repo),
		"--namespace=" + argocdNamespace, "--enable-progressive-syncs",
	}}
}
