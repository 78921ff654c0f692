// One container: a process group in a mount namespace of its own.

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

const (
	registry = "rig.local/"
	// startError is the exit code that container runtimes report for a command that could not be started.
	startError = 128
	// grace is how long a container may take after SIGTERM.
	grace = 5 * time.Second
)

var errNoImage = errors.New("there is no such image")

// imageFolder finds the folder that stands for an image: rig.local/NAME:TAG is images/NAME.
func (k *Kubelet) imageFolder(image string) (string, error) {
	name, ok := strings.CutPrefix(image, registry)
	name, _, _ = strings.Cut(name, ":")
	folder := filepath.Join(k.images, name)
	if !ok || name == "" || !filepath.IsLocal(name) {
		return "", fmt.Errorf("%w: %s; the rig runs %sNAME:TAG only", errNoImage, image, registry)
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%w: %s; make the folder %s", errNoImage, image, folder)
	}
	return folder, nil
}

// execute runs the container's command to its end and returns its exit code; an error tells why it could not start.
func (w *worker) execute(ctx context.Context, c preparedContainer) (int, error) {
	log, err := newLog(w.logPath(c.spec.Name))
	if err != nil {
		return startError, err
	}
	defer log.Close()
	cmd, err := w.command(ctx, c)
	if err != nil {
		return startError, err
	}
	cmd.Stdout, cmd.Stderr = log.stream("stdout"), log.stream("stderr")

	result := make(chan error)
	go func() {
		// This thread gets a mount namespace of its own, which the process inherits. It is never unlocked, so the
		// runtime ends it with the goroutine; and it must live as long as the process, because of Pdeathsig.
		runtime.LockOSThread()
		err := enterMounts(c.mounts)
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			result <- &startFailure{err}
			return
		}
		err = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
		result <- err
	}()
	err = <-result

	var failure *startFailure
	if errors.As(err, &failure) {
		return startError, failure.error
	}
	return exitCode(cmd.ProcessState), nil
}

type startFailure struct{ error }

// exitCode is that of a shell: 128 and the number for a signal.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

func (w *worker) command(ctx context.Context, c preparedContainer) (*exec.Cmd, error) {
	folder, err := w.k.imageFolder(c.spec.Image)
	if err != nil {
		return nil, err
	}
	if len(c.spec.Command) == 0 {
		return nil, fmt.Errorf("container %s has no command, and an image of the rig has none either", c.spec.Name)
	}
	variables := map[string]string{}
	for _, pair := range c.environ {
		name, value, _ := strings.Cut(pair, "=")
		variables[name] = value
	}
	expand := expansion.MappingFuncFor(variables)
	var argv []string
	for _, word := range append(append([]string{}, c.spec.Command...), c.spec.Args...) {
		argv = append(argv, expansion.Expand(word, expand))
	}
	program, err := lookPath(argv[0], variables["PATH"])
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Dir = folder
	if c.spec.WorkingDir != "" {
		cmd.Dir = c.spec.WorkingDir
	}
	cmd.Env = c.environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if errors.Is(context.Cause(ctx), errShutdown) {
		return nil, errShutdown
	}
	return cmd, nil
}

// lookPath finds a program in the PATH of the container, not in ours.
func lookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, folder := range filepath.SplitList(path) {
		candidate := filepath.Join(folder, name)
		if info, err := os.Stat(candidate); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("%q is not in the container's PATH %s", name, path)
}

// A mount shows a folder or file of a volume at an absolute path.
type mount struct {
	source, target string
	readOnly       bool
}

// enterMounts gives the calling thread a mount namespace of its own with the given mounts. The places where they are
// mounted must exist on the machine, as in any bind mount; a missing one is made, empty, and stays.
func enterMounts(mounts []mount) error {
	if len(mounts) == 0 {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("volumes need a mount namespace, and so the rights of root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make mounts private: %w", err)
	}
	for _, m := range mounts {
		if err := mountPoint(m); err != nil {
			return fmt.Errorf("cannot make %s: %w", m.target, err)
		}
		if err := unix.Mount(m.source, m.target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.target, err)
		}
		if !m.readOnly {
			continue
		}
		if err := unix.Mount("", m.target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("cannot make %s read-only: %w", m.target, err)
		}
	}
	return nil
}

// mountPoint makes what is mounted on: a folder, or an empty file if the source is a file.
func mountPoint(m mount) error {
	info, err := os.Stat(m.source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(m.target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(m.target), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(m.target, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}

// mountsOf resolves the volumeMounts of a container.
func mountsOf(c corev1.Container, volumes map[string]string) ([]mount, error) {
	var mounts []mount
	for _, m := range c.VolumeMounts {
		source, ok := volumes[m.Name]
		if !ok {
			return nil, fmt.Errorf("container %s mounts volume %s, which the Pod does not have", c.Name, m.Name)
		}
		if m.SubPathExpr != "" {
			return nil, fmt.Errorf("container %s: the rig's kubelet does not play subPathExpr", c.Name)
		}
		if m.SubPath != "" {
			if !filepath.IsLocal(m.SubPath) {
				return nil, fmt.Errorf("container %s: subPath %s leaves its volume", c.Name, m.SubPath)
			}
			source = filepath.Join(source, m.SubPath)
		}
		mounts = append(mounts, mount{source: source, target: m.MountPath, readOnly: m.ReadOnly})
	}
	return mounts, nil
}
