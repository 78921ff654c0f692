// How to reach the Kubernetes API: keys, the administrator's token, kubeconfig files, clients.

package up

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

const argocdNamespace = "argocd"

// argocdAccounts are the service accounts of those parts of Argo CD that talk to the API.
var argocdAccounts = []string{"argocd-server", "argocd-application-controller", "argocd-applicationset-controller"}

type cluster struct {
	dir        string
	url        string
	ca         *authority
	serving    keyFiles // of every server and client on this machine
	signing    keyFiles // of service account tokens
	adminToken string
	tokenFile  string
	kubeconfig string // of the administrator
}

// newCluster makes keys, tokens and the administrator's kubeconfig.
func newCluster(l layout, p ports) (cluster, error) {
	k := cluster{
		dir:        l.keys,
		url:        fmt.Sprintf("https://localhost:%d", p.apiserver),
		adminToken: rand.Text(),
		tokenFile:  filepath.Join(l.keys, "tokens.csv"),
	}
	k.kubeconfig = k.kubeconfigOf("admin")
	var err error
	if k.ca, err = newAuthority(l.keys); err != nil {
		return k, err
	}
	if k.serving, err = k.ca.issue("localhost"); err != nil {
		return k, err
	}
	if k.signing, err = signingKey(l.keys); err != nil {
		return k, err
	}
	tokens := fmt.Sprintf("%s,rig-admin,rig-admin,system:masters\n", k.adminToken)
	if err := os.WriteFile(k.tokenFile, []byte(tokens), 0o600); err != nil {
		return k, err
	}
	return k, k.writeKubeconfig("admin", k.adminToken)
}

// The issuer of service account tokens is the API server itself: discovery and keys can be fetched there.
func (k cluster) issuer() string  { return k.url }
func (k cluster) jwksURI() string { return k.url + "/openid/v1/jwks" }

func (k cluster) kubeconfigOf(user string) string {
	return filepath.Join(k.dir, user+".kubeconfig")
}

func (k cluster) writeKubeconfig(user, token string) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["rig"] = &clientcmdapi.Cluster{Server: k.url, CertificateAuthority: k.ca.path}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["rig"] = &clientcmdapi.Context{Cluster: "rig", AuthInfo: user, Namespace: argocdNamespace}
	config.CurrentContext = "rig"
	return clientcmd.WriteToFile(*config, k.kubeconfigOf(user))
}

// clients talk to the API as the administrator.
type clients struct {
	kubernetes kubernetes.Interface
	dynamic    dynamic.Interface
}

func (k cluster) connect() (clients, error) {
	config := &rest.Config{
		Host:            k.url,
		BearerToken:     k.adminToken,
		TLSClientConfig: rest.TLSClientConfig{CAFile: k.ca.path},
		QPS:             -1, // no limit: all on one machine
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return clients{}, err
	}
	untyped, err := dynamic.NewForConfig(config)
	return clients{kubernetes: typed, dynamic: untyped}, err
}

// asServiceAccounts writes a kubeconfig for each of Argo CD's own service accounts, so that the API server (and an
// admission webhook) sees the same users as in a real installation.
func (k cluster) asServiceAccounts(ctx context.Context, c clients, names ...string) error {
	for _, name := range names {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: ptr.To(int64(validity.Seconds())),
		}}
		token, err := c.kubernetes.CoreV1().ServiceAccounts(argocdNamespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("token of service account %s: %w", name, err)
		}
		if err := k.writeKubeconfig(name, token.Status.Token); err != nil {
			return err
		}
	}
	return nil
}

// openDiscovery lets anybody fetch the issuer's discovery document and keys.
func openDiscovery(ctx context.Context, c clients) error {
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "rig-service-account-issuer-discovery"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:service-account-issuer-discovery"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:unauthenticated"}},
	}
	_, err := c.kubernetes.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	return err
}

func createNamespaces(ctx context.Context, c clients, names ...string) error {
	for _, name := range names {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := c.kubernetes.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
	}
	return nil
}
