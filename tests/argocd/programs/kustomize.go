// kustomize: repo-server runs a binary of that name from PATH.

package programs

import "sigs.k8s.io/kustomize/kustomize/v5/commands"

func kustomize() int {
	if err := commands.NewDefaultCommand().Execute(); err != nil {
		return 1
	}
	return 0
}
