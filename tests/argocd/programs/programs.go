// Package programs holds the upstream programs of a control plane, each behind the name its own binary has.
// Nothing here changes what they do; all settings are flags and environment given by package up.
package programs

import (
	"maps"
	"slices"
)

// A program reads os.Args like a main function and returns the exit code.
type program func() int

var table = map[string]program{
	"argocd":                           argocdCLI,
	"argocd-server":                    argocdServer,
	"argocd-repo-server":               argocdRepoServer,
	"argocd-application-controller":    argocdApplicationController,
	"argocd-applicationset-controller": argocdApplicationSetController,
	"etcd":                             etcd,
	"kube-apiserver":                   kubeAPIServer,
	"kube-controller-manager":          kubeControllerManager,
	"kustomize":                        kustomize,
	"miniredis":                        redis,
}

// ByName finds a program by the name of its binary.
func ByName(name string) (func() int, bool) {
	run, ok := table[name]
	return run, ok
}

// Names lists the programs in alphabetical order.
func Names() []string {
	return slices.Sorted(maps.Keys(table))
}
