// Package kubelet plays a kubelet: one Node that runs the containers of Pods as processes of this machine.
//
// It does what Jobs need: it binds Pods, makes their volumes real, runs their commands, reports status and exit
// codes, keeps logs and serves them, and kills what is deleted or takes too long. The images are folders.
package kubelet

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
)

// Name is the command of the program that runs this package.
const Name = "kubelet"

// NodeName is the name of the one Node.
const NodeName = "rig"

type options struct {
	kubeconfig, images, state, listen, api, cert, key, clientCA, pathPrefix string
	podEnv                                                                  []string
}

// Kubelet runs Pods.
type Kubelet struct {
	options
	client kubernetes.Interface

	mu   sync.Mutex
	pods map[types.UID]*worker
}

// Main runs the command and returns its exit code.
func Main(args []string) int {
	var o options
	flags := flag.NewFlagSet(Name, flag.ExitOnError)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the Kubernetes API")
	flags.StringVar(&o.images, "images", "", "folder with a folder per image")
	flags.StringVar(&o.state, "state", "", "folder for volumes and logs")
	flags.StringVar(&o.listen, "listen", "", "127.0.0.1:PORT where logs are served")
	flags.StringVar(&o.api, "api", "", "127.0.0.1:PORT of the Kubernetes API, told to containers")
	flags.StringVar(&o.cert, "cert", "", "certificate to serve with")
	flags.StringVar(&o.key, "key", "", "key of that certificate")
	flags.StringVar(&o.clientCA, "client-ca", "", "authority of the clients that may read logs")
	flags.StringVar(&o.pathPrefix, "path-prefix", "", "folder put first in PATH of containers")
	flags.Func("pod-env", "KEY=VALUE for every container; may be repeated", func(pair string) error {
		if !strings.Contains(pair, "=") {
			return errors.New("want KEY=VALUE")
		}
		o.podEnv = append(o.podEnv, pair)
		return nil
	})
	_ = flags.Parse(args) // ExitOnError

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "kubelet:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, o options) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1 // no limit: all on one machine
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	k := &Kubelet{options: o, client: client, pods: map[types.UID]*worker{}}
	if err := k.serve(ctx); err != nil {
		return err
	}
	if err := k.register(ctx); err != nil {
		return err
	}
	informer := informers.NewSharedInformerFactory(client, 0).Core().V1().Pods().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { k.see(ctx, object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { k.see(ctx, object.(*corev1.Pod)) },
		DeleteFunc: k.forget,
	})
	if err != nil {
		return err
	}
	informer.Run(ctx.Done())
	k.stopAll()
	return nil
}

// see is told of every state of every Pod. It must not block.
func (k *Kubelet) see(ctx context.Context, pod *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w, known := k.pods[pod.UID]
	switch {
	case pod.DeletionTimestamp != nil && pod.Spec.NodeName == NodeName:
		if !known {
			w = finishedWorker()
			k.pods[pod.UID] = w
		}
		w.remove.Do(func() { go k.remove(ctx, pod, w) })
	case pod.DeletionTimestamp != nil || known:
		return
	case pod.Spec.NodeName == "":
		go k.bind(ctx, pod)
	case pod.Spec.NodeName == NodeName && pod.Status.Phase == corev1.PodPending:
		k.pods[pod.UID] = k.startWorker(ctx, pod)
	}
}

// forget is told when a Pod is gone, also one that was deleted by force.
func (k *Kubelet) forget(object any) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if w, ok := k.pods[pod.UID]; ok {
		w.stop(errDeleted)
		delete(k.pods, pod.UID)
	}
}

// bind is what a scheduler would do, with only one choice.
func (k *Kubelet) bind(ctx context.Context, pod *corev1.Pod) {
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: NodeName},
	}
	err := k.client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		logf(pod, "cannot bind: %v", err)
	}
}

// remove ends a Pod that somebody deleted, and then tells the API that it is gone.
func (k *Kubelet) remove(ctx context.Context, pod *corev1.Pod, w *worker) {
	w.stop(errDeleted)
	<-w.done
	err := k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0),
		Preconditions:      metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		logf(pod, "cannot confirm its deletion: %v", err)
	}
}

func (k *Kubelet) stopAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.pods {
		w.stop(errShutdown)
	}
	for _, w := range k.pods {
		<-w.done
	}
}

func logf(pod *corev1.Pod, format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s kubelet: pod %s/%s: %s\n",
		time.Now().UTC().Format(time.RFC3339), pod.Namespace, pod.Name, fmt.Sprintf(format, args...))
}
