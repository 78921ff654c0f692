// Port forwarding: `kubectl port-forward` and `argocd --core` reach what listens on this machine.

package kubelet

import (
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// portsAnnotation of a Pod says where its ports are on this machine, "8081=40123,6379=40124": a Pod may stand for a
// program that runs beside the kubelet.
const portsAnnotation = "rig.local/ports"

// answerPortForward serves /portForward/NAMESPACE/POD: for each connection the client opens two streams, one for
// errors and one for data.
func (k *Kubelet) answerPortForward(answer http.ResponseWriter, request *http.Request) {
	w := k.find(request.PathValue("namespace"), request.PathValue("pod"))
	if w == nil {
		http.Error(answer, "the Pod has not run on this node", http.StatusNotFound)
		return
	}
	if _, err := httpstream.Handshake(request, answer, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return // the handshake has answered
	}
	streams := make(chan httpstream.Stream)
	connection := spdy.NewResponseUpgrader().UpgradeResponse(answer, request,
		func(stream httpstream.Stream, _ <-chan struct{}) error {
			streams <- stream
			return nil
		})
	if connection == nil {
		return // the upgrader has answered
	}
	defer connection.Close()
	connection.SetIdleTimeout(10 * time.Minute)
	errors := map[string]httpstream.Stream{}
	for {
		select {
		case <-connection.CloseChan():
			return
		case stream := <-streams:
			id := stream.Headers().Get(corev1.PortForwardRequestIDHeader)
			if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				errors[id] = stream
			} else if failed, ok := errors[id]; ok { // the client opens the one for errors first
				delete(errors, id)
				go forward(stream, failed, address(w.pod, stream.Headers().Get(corev1.PortHeader)))
			}
		}
	}
}

// forward copies between a stream and a connection of this machine until one of them ends.
func forward(stream, failed httpstream.Stream, address string) {
	defer failed.Close()
	defer stream.Close()
	target, err := net.Dial("tcp", address)
	if err != nil {
		_, _ = failed.Write([]byte(err.Error())) // the client may be gone
		return
	}
	defer target.Close()
	ended := make(chan struct{}, 2)
	for _, way := range []struct {
		to   io.Writer
		from io.Reader
	}{{target, stream}, {stream, target}} {
		go func() {
			_, _ = io.Copy(way.to, way.from)
			ended <- struct{}{}
		}()
	}
	<-ended
}

// address is where a port of the Pod is on this machine.
func address(pod *corev1.Pod, port string) string {
	for _, pair := range strings.Split(pod.Annotations[portsAnnotation], ",") {
		if from, to, _ := strings.Cut(pair, "="); from == port {
			port = to
		}
	}
	return net.JoinHostPort("127.0.0.1", port)
}
