// One Pod, from its volumes to its last status.

package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var (
	errDeleted  = errors.New("the Pod was deleted")
	errShutdown = errors.New("the kubelet is stopping")
	errDeadline = errors.New("Pod was active on the node longer than the specified deadline")
)

// A worker runs one Pod.
type worker struct {
	k      *Kubelet
	pod    *corev1.Pod
	dir    string // volumes and logs
	stop   context.CancelCauseFunc
	done   chan struct{}
	remove sync.Once

	mu     sync.Mutex
	status corev1.PodStatus
}

func (k *Kubelet) startWorker(ctx context.Context, pod *corev1.Pod) *worker {
	// Not stopped by ctx itself: stopAll does that, and waits.
	ctx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	now := metav1.Now()
	w := &worker{
		k: k, pod: pod, stop: stop, done: make(chan struct{}),
		dir: k.podDir(pod.Namespace, pod.Name, pod.UID),
		status: corev1.PodStatus{
			Phase: corev1.PodPending, StartTime: &now, HostIP: hostIP, HostIPs: []corev1.HostIP{{IP: hostIP}},
			PodIP: hostIP, PodIPs: []corev1.PodIP{{IP: hostIP}},
		},
	}
	go func() {
		defer close(w.done)
		w.run(ctx)
	}()
	return w
}

// finishedWorker stands for a Pod that never ran here: there is nothing to stop.
func finishedWorker() *worker {
	w := &worker{stop: func(error) {}, done: make(chan struct{})}
	close(w.done)
	return w
}

func (k *Kubelet) podDir(namespace, name string, uid types.UID) string {
	return filepath.Join(k.state, namespace+"_"+name+"_"+string(uid))
}

// run is the life of the Pod.
func (w *worker) run(ctx context.Context) {
	if deadline := w.pod.Spec.ActiveDeadlineSeconds; deadline != nil {
		limited, cancel := context.WithTimeoutCause(ctx, time.Duration(*deadline)*time.Second, errDeadline)
		defer cancel()
		ctx = limited
	}
	if policy := w.pod.Spec.RestartPolicy; policy != corev1.RestartPolicyNever {
		w.finish(ctx, corev1.PodFailed, "NotPlayed", "the rig's kubelet plays restartPolicy Never only, not "+string(policy))
		return
	}
	defer os.RemoveAll(w.volumesDir()) // tokens must not outlive the Pod
	prepared, err := w.prepare(ctx)
	if err != nil {
		w.finish(ctx, corev1.PodFailed, reasonOf(err), err.Error())
		return
	}
	for _, c := range prepared.init {
		if w.runContainer(ctx, c) != 0 {
			w.finish(ctx, corev1.PodFailed, reasonOf(context.Cause(ctx)), "init container "+c.spec.Name+" failed")
			return
		}
	}
	var group sync.WaitGroup
	codes := make([]int, len(prepared.main))
	for i, c := range prepared.main {
		group.Go(func() { codes[i] = w.runContainer(ctx, c) })
	}
	group.Wait()

	if cause := context.Cause(ctx); cause != nil {
		w.finish(ctx, corev1.PodFailed, reasonOf(cause), cause.Error())
		return
	}
	for _, code := range codes {
		if code != 0 {
			w.finish(ctx, corev1.PodFailed, "", "")
			return
		}
	}
	w.finish(ctx, corev1.PodSucceeded, "", "")
}

// reasonOf is what the real kubelet calls it.
func reasonOf(err error) string {
	if errors.Is(err, errDeadline) {
		return "DeadlineExceeded"
	}
	return ""
}

type preparedContainer struct {
	spec    corev1.Container
	environ []string
	mounts  []mount
}

type preparedPod struct{ init, main []preparedContainer }

// prepare makes volumes and environments. What is missing may still come, so it tries until the Pod is stopped.
func (w *worker) prepare(ctx context.Context) (preparedPod, error) {
	for {
		prepared, err := w.prepareOnce(ctx)
		if err == nil {
			return prepared, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return prepared, cause
		}
		w.update(ctx, func(status *corev1.PodStatus) { status.ContainerStatuses = waiting(w.pod, err) })
		select {
		case <-ctx.Done():
			return prepared, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

func (w *worker) prepareOnce(ctx context.Context) (preparedPod, error) {
	var prepared preparedPod
	volumes, err := w.makeVolumes(ctx)
	if err != nil {
		return prepared, err
	}
	add := func(to *[]preparedContainer, specs []corev1.Container) error {
		for _, spec := range specs {
			if _, err := w.k.imageFolder(spec.Image); err != nil {
				return err
			}
			environ, err := w.environment(ctx, spec)
			if err != nil {
				return err
			}
			mounts, err := mountsOf(spec, volumes)
			if err != nil {
				return err
			}
			*to = append(*to, preparedContainer{spec: spec, environ: environ, mounts: mounts})
		}
		return nil
	}
	return prepared, errors.Join(add(&prepared.init, w.pod.Spec.InitContainers), add(&prepared.main, w.pod.Spec.Containers))
}

// waiting is the status of containers that cannot start yet.
func waiting(pod *corev1.Pod, err error) []corev1.ContainerStatus {
	reason := "CreateContainerConfigError"
	if errors.Is(err, errNoImage) {
		reason = "ErrImagePull"
	}
	var statuses []corev1.ContainerStatus
	for _, c := range pod.Spec.Containers {
		statuses = append(statuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: err.Error()}},
		})
	}
	return statuses
}

// runContainer runs one container and keeps its status up to date.
func (w *worker) runContainer(ctx context.Context, c preparedContainer) int {
	started := metav1.Now()
	w.update(ctx, func(status *corev1.PodStatus) {
		status.Phase = corev1.PodRunning
		w.setState(status, c.spec, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}})
	})
	code, problem := w.execute(ctx, c)
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	if problem != nil {
		reason = "StartError"
		logf(w.pod, "container %s: %v", c.spec.Name, problem)
	}
	terminated := &corev1.ContainerStateTerminated{
		ExitCode: int32(code), Reason: reason, StartedAt: started, FinishedAt: metav1.Now(), ContainerID: w.containerID(c.spec),
	}
	if problem != nil {
		terminated.Message = problem.Error()
	}
	w.update(ctx, func(status *corev1.PodStatus) {
		w.setState(status, c.spec, corev1.ContainerState{Terminated: terminated})
	})
	return code
}

func (w *worker) containerID(c corev1.Container) string {
	return "rig://" + string(w.pod.UID) + "/" + c.Name
}

func (w *worker) setState(status *corev1.PodStatus, c corev1.Container, state corev1.ContainerState) {
	list := &status.ContainerStatuses
	for _, init := range w.pod.Spec.InitContainers {
		if init.Name == c.Name {
			list = &status.InitContainerStatuses
		}
	}
	running := state.Running != nil
	entry := corev1.ContainerStatus{
		Name: c.Name, Image: c.Image, ImageID: c.Image, ContainerID: w.containerID(c),
		State: state, Ready: running, Started: &running,
	}
	for i := range *list {
		if (*list)[i].Name == c.Name {
			(*list)[i] = entry
			return
		}
	}
	*list = append(*list, entry)
}

// finish reports the last phase, once and for all.
func (w *worker) finish(ctx context.Context, phase corev1.PodPhase, reason, message string) {
	w.update(ctx, func(status *corev1.PodStatus) {
		status.Phase, status.Reason, status.Message = phase, reason, message
	})
}

// update changes the status and sends it, even when the Pod was just stopped.
func (w *worker) update(ctx context.Context, change func(*corev1.PodStatus)) {
	if errors.Is(context.Cause(ctx), errShutdown) {
		return // the API goes away with us
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.status)
	w.status.Conditions = conditions(w.pod, w.status)
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": w.pod.UID},
		"status":   w.status,
	})
	if err != nil {
		logf(w.pod, "cannot encode its status: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, err = w.k.client.CoreV1().Pods(w.pod.Namespace).Patch(ctx, w.pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		logf(w.pod, "cannot report its status: %v", err)
	}
}

// conditions follow from phase and containers; one that does not change keeps its time.
func conditions(pod *corev1.Pod, status corev1.PodStatus) []corev1.PodCondition {
	ready := len(status.ContainerStatuses) == len(pod.Spec.Containers)
	for _, c := range status.ContainerStatuses {
		ready = ready && c.Ready
	}
	condition := func(kind corev1.PodConditionType, holds bool, reason string) corev1.PodCondition {
		value := corev1.ConditionFalse
		if holds {
			value, reason = corev1.ConditionTrue, ""
		}
		since := metav1.Now()
		for _, before := range status.Conditions {
			if before.Type == kind && before.Status == value {
				since = before.LastTransitionTime
			}
		}
		return corev1.PodCondition{Type: kind, Status: value, Reason: reason, LastTransitionTime: since}
	}
	unready := "ContainersNotReady"
	if status.Phase == corev1.PodSucceeded {
		unready = "PodCompleted"
	}
	return []corev1.PodCondition{
		condition(corev1.PodScheduled, true, ""),
		condition(corev1.PodInitialized, status.Phase != corev1.PodPending, "ContainersNotInitialized"),
		condition(corev1.PodReady, ready, unready),
		condition(corev1.ContainersReady, ready, unready),
	}
}
