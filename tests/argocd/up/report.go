// The one line of JSON that tells a test what was started.

package up

import "runtime/debug"

// Report is what `up` prints when everything is ready.
type Report struct {
	Dir        string     `json:"dir"`
	Bin        string     `json:"bin"`
	CLI        string     `json:"cli"`
	ArgoCD     ArgoCD     `json:"argocd"`
	Kubernetes Kubernetes `json:"kubernetes"`
	Git        Git        `json:"git"`
	Images     string     `json:"images"`
	Logs       string     `json:"logs"`
	Versions   Versions   `json:"versions"`
}

// ArgoCD says where argocd-server is and who may sign in.
type ArgoCD struct {
	URL          string `json:"url"`
	CA           string `json:"ca"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	Account      string `json:"account"`
	AccountToken string `json:"account_token"`
	// Ports of what others reach only by port forwarding.
	RepoServerPort int `json:"repo_server_port"`
	RedisPort      int `json:"redis_port"`
}

// Kubernetes says where kube-apiserver is; the token is that of an administrator.
type Kubernetes struct {
	URL                  string `json:"url"`
	CA                   string `json:"ca"`
	Kubeconfig           string `json:"kubeconfig"`
	Token                string `json:"token"`
	ServiceAccountIssuer string `json:"service_account_issuer"`
	JWKSURI              string `json:"jwks_uri"`
}

// Git lists the repositories.
type Git struct {
	Root         string                `json:"root"`
	Repositories map[string]Repository `json:"repositories"`
}

// Repository is one of them: what Argo CD fetches from, and a clone of it to commit in and push from.
type Repository struct {
	URL      string `json:"url"`
	Worktree string `json:"worktree"`
}

// Versions are those of the modules that were built in.
type Versions struct {
	ArgoCD     string `json:"argocd"`
	Kubernetes string `json:"kubernetes"`
	Etcd       string `json:"etcd"`
}

// versions are read from the modules that this program was built from.
func versions() Versions {
	var v Versions
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		switch module.Path {
		case "github.com/argoproj/argo-cd/v3":
			v.ArgoCD = module.Version
		case "k8s.io/kubernetes":
			v.Kubernetes = module.Version
		case "go.etcd.io/etcd/server/v3":
			v.Etcd = module.Version
		}
	}
	return v
}
