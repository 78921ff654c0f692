// The Git repositories: bare, with one commit of a fixed date, and beside each a clone for tests to commit in.

package up

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"syncgate.dev/tests/argocd/fixtures"
)

// firstCommit is the date of every first commit: with the same --dir, the SHAs are the same, too.
const firstCommit = "2026-01-02T03:04:05Z"

func createRepositories(l layout) (map[string]Repository, error) {
	repositories := map[string]Repository{}
	for _, name := range fixtures.Repositories {
		bare := filepath.Join(l.git, name+".git")
		worktree := filepath.Join(l.worktrees, name)
		url := l.gitURL() + "/" + name + ".git"
		if err := git(l.git, "init", "--quiet", "--bare", "--initial-branch=main", bare); err != nil {
			return nil, err
		}
		if err := git(l.worktrees, "clone", "--quiet", url, worktree); err != nil {
			return nil, err
		}
		if err := fixtures.WriteRepository(name, worktree, l.gitURL()); err != nil {
			return nil, err
		}
		for _, args := range [][]string{
			{"config", "user.name", "Shop Engineer"},
			{"config", "user.email", "engineer@shop.example"},
			{"config", "commit.gpgsign", "false"},
			{"config", "core.hooksPath", "/dev/null"},
			{"add", "--all"},
			{"commit", "--quiet", "--message=Start " + name},
			{"push", "--quiet", "--set-upstream", "origin", "main"},
		} {
			if err := git(worktree, args...); err != nil {
				return nil, err
			}
		}
		repositories[name] = Repository{URL: url, Worktree: worktree}
	}
	return repositories, nil
}

// git runs git untouched by the settings of whoever runs the tests.
func git(dir string, args ...string) error {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_DATE="+firstCommit, "GIT_COMMITTER_DATE="+firstCommit)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %v: %w\n%s", args, err, out)
	}
	return nil
}
