// What is tried, one function each.

package check

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
)

// home is where the CLI keeps its own files.
func (p *plane) home() string { return filepath.Join(p.Dir, "check") }

// cli runs the stock CLI. What it prints is in the error, too. Its flag --server-crt would do but for login, which
// first tries the connection with the machine's own authorities.
func (p *plane) cli(args ...string) (string, error) {
	cmd := exec.Command(p.CLI, args...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+p.ArgoCD.CA, "HOME="+p.home(), "XDG_CONFIG_HOME="+p.home())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("argocd %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func (p *plane) signIn() error {
	server := strings.TrimPrefix(p.ArgoCD.URL, "https://")
	if _, err := p.cli("login", server, "--username", p.ArgoCD.Username, "--password", p.ArgoCD.Password); err != nil {
		return err
	}
	out, err := p.cli("account", "get-user-info", "--auth-token", p.ArgoCD.AccountToken)
	if err != nil {
		return err
	}
	return contains(out, "Username: "+p.ArgoCD.Account)
}

func (p *plane) syncParent() error {
	if _, err := p.cli("app", "sync", "shop-staging"); err != nil {
		return err
	}
	parent, err := p.application("shop-staging")
	if err != nil {
		return err
	}
	if parent.Status.Sync.Status != v1alpha1.SyncStatusCodeSynced {
		return fmt.Errorf("shop-staging is %s after its sync", parent.Status.Sync.Status)
	}
	return nil
}

func (p *plane) syncChild() error { return p.syncWithTests("checkout") }

func (p *plane) syncTwoSources() error {
	if err := p.syncWithTests("payments"); err != nil {
		return err
	}
	app, err := p.application("payments-staging")
	if err != nil {
		return err
	}
	if revisions := app.Status.OperationState.SyncResult.Revisions; len(revisions) != 2 {
		return fmt.Errorf("payments-staging was synced to %v, not to two revisions", revisions)
	}
	return nil
}

// syncWithTests syncs a component in staging and wants its PostSync Job to have succeeded.
func (p *plane) syncWithTests(component string) error {
	if _, err := p.cli("app", "sync", component+"-staging"); err != nil {
		return err
	}
	app, err := p.application(component + "-staging")
	if err != nil {
		return err
	}
	for _, result := range app.Status.OperationState.SyncResult.Resources {
		if result.Name == component+"-integration" && string(result.HookPhase) == "Succeeded" {
			return nil
		}
	}
	return fmt.Errorf("no Job %s-integration has succeeded: %v", component, app.Status.OperationState.SyncResult.Resources)
}

func (p *plane) showLog() error {
	out, err := p.cli("app", "logs", "checkout-staging")
	if err != nil {
		return err
	}
	return contains(out, "3 passed")
}

func (p *plane) failTests() error {
	worktree := p.Git.Repositories["shop"].Worktree
	settings := filepath.Join(worktree, "components/checkout/base/configmap.yaml")
	data, err := os.ReadFile(settings)
	if err != nil {
		return err
	}
	bad := strings.Replace(string(data), `PRICE_CENTS: "1999"`, `PRICE_CENTS: "-1"`, 1)
	if err := os.WriteFile(settings, []byte(bad), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"commit", "--all", "--message=Give it away"}, {"push"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = worktree
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
		}
	}
	if _, err := p.cli("app", "get", "checkout-staging", "--refresh"); err != nil {
		return err
	}
	out, err := p.cli("app", "sync", "checkout-staging")
	if err == nil {
		return fmt.Errorf("the sync succeeded:\n%s", out)
	}
	if err := contains(out, "Job has reached the specified backoff limit"); err != nil {
		return err
	}
	log, err := p.cli("app", "logs", "checkout-staging")
	if err != nil {
		return err
	}
	return contains(log, "FAILED test_checkout.py::test_price_is_a_positive_number_of_cents")
}

// discoverKeys follows the issuer to its keys, as a verifier of tokens does, without a credential.
func (p *plane) discoverKeys() error {
	ca, err := os.ReadFile(p.Kubernetes.CA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}

	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := get(client, p.Kubernetes.ServiceAccountIssuer+"/.well-known/openid-configuration", &discovery); err != nil {
		return err
	}
	if discovery.Issuer != p.Kubernetes.ServiceAccountIssuer || discovery.JWKSURI != p.Kubernetes.JWKSURI {
		return fmt.Errorf("the discovery document says %+v", discovery)
	}
	var keys struct {
		Keys []struct{ Alg string }
	}
	if err := get(client, discovery.JWKSURI, &keys); err != nil {
		return err
	}
	if len(keys.Keys) != 1 || keys.Keys[0].Alg != "RS256" {
		return fmt.Errorf("the keys are %+v", keys)
	}
	return nil
}

func get(client *http.Client, url string, into any) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(url + ": " + response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (p *plane) application(name string) (*v1alpha1.Application, error) {
	out, err := p.cli("app", "get", name, "--output", "json")
	if err != nil {
		return nil, err
	}
	app := &v1alpha1.Application{}
	return app, json.Unmarshal([]byte(out), app)
}

func contains(text, wanted string) error {
	if strings.Contains(text, wanted) {
		return nil
	}
	return fmt.Errorf("%q is not in:\n%s", wanted, text)
}
