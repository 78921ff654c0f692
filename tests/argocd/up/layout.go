// Where everything lies below the state folder.

package up

import (
	"fmt"
	"os"
	"path/filepath"
)

// layout is the state folder; every field is an absolute path of a folder in it.
type layout struct {
	root, keys, logs, pods, etcd, git, worktrees, images, tmp, argocd string
}

// newLayout makes the folders. A folder given by the caller must be empty, so that nothing of theirs is mixed in.
func newLayout(dir string) (layout, error) {
	if dir == "" {
		made, err := os.MkdirTemp("", "argocd-rig-")
		if err != nil {
			return layout{}, err
		}
		dir = made
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return layout{}, err
	}
	if entries, err := os.ReadDir(root); err == nil && len(entries) > 0 {
		return layout{}, fmt.Errorf("the folder %s is not empty: give --dir a new or empty one", root)
	}
	under := func(name string) string { return filepath.Join(root, name) }
	l := layout{
		root: root, keys: under("keys"), logs: under("logs"), pods: under("pods"), etcd: under("etcd"),
		git: under("git"), worktrees: under("worktrees"), images: under("images"), tmp: under("tmp"), argocd: under("argocd"),
	}
	for _, folder := range []string{l.keys, l.logs, l.pods, l.etcd, l.git, l.worktrees, l.images, l.tmp, l.argocd} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return layout{}, err
		}
	}
	// The keys are those of an administrator; etcd refuses a data folder that others may read.
	for _, folder := range []string{l.keys, l.etcd} {
		if err := os.Chmod(folder, 0o700); err != nil {
			return layout{}, err
		}
	}
	return l, nil
}

func (l layout) gitURL() string { return "file://" + l.git }
