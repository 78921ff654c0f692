// Free ports on the loopback interface.

package up

import (
	"fmt"
	"net"
)

// ports says where each component listens, on 127.0.0.1.
type ports struct {
	etcd, etcdPeer, redis, apiserver, kubelet int
	argocd, argocdMetrics, repo, repoMetrics  int
	controllerMetrics                         int
	appsetMetrics, appsetProbe, appsetWebhook int
}

// freePorts asks the kernel for ports and lets go of them only when it has given all, so that none comes twice.
// Another process may take one before its component does; that component then says so in its log, and `up` fails.
func freePorts() (ports, error) {
	var p ports
	for _, port := range []*int{
		&p.etcd, &p.etcdPeer, &p.redis, &p.apiserver, &p.kubelet,
		&p.argocd, &p.argocdMetrics, &p.repo, &p.repoMetrics,
		&p.controllerMetrics,
		&p.appsetMetrics, &p.appsetProbe, &p.appsetWebhook,
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return p, err
		}
		defer listener.Close()
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
