// Waiting until a component answers.

package up

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A check returns nil once what it looks at is ready, or else the reason why not.
type check func(ctx context.Context) error

// wait repeats a check until it is content. When ctx ends first, the error tells why and what the last reason was.
func wait(ctx context.Context, c check) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := c(attempt)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last answer: %w)", context.Cause(ctx), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// trusting returns an HTTP client that trusts only the given authority.
func trusting(ca string) (*http.Client, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + ca)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}, nil
}

// answers200 asks a health endpoint.
func answers200(client *http.Client, url string) check {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, 512))
		return errors.Join(fmt.Errorf("%s: %s: %s", url, response.Status, body), err)
	}
}

// accepts tries to connect.
func accepts(address string) check {
	return func(ctx context.Context) error {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

// hasDefaultAccounts is ready when the controller manager has given each namespace its service account and CA.
func hasDefaultAccounts(c clients, namespaces ...string) check {
	return func(ctx context.Context) error {
		for _, namespace := range namespaces {
			if _, err := c.kubernetes.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{}); err != nil {
				return err
			}
			if _, err := c.kubernetes.CoreV1().ConfigMaps(namespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{}); err != nil {
				return err
			}
		}
		return nil
	}
}

// hasNode is ready when the kubelet has registered itself.
func hasNode(c clients, name string) check {
	return func(ctx context.Context) error {
		_, err := c.kubernetes.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return err
	}
}

// servesApplications is ready when the custom resources are served.
func servesApplications(c clients) check {
	return func(ctx context.Context) error {
		for _, kind := range []string{"Application", "AppProject"} {
			if _, err := c.dynamic.Resource(resources[kind]).Namespace(argocdNamespace).List(ctx, metav1.ListOptions{}); err != nil {
				return err
			}
		}
		return nil
	}
}

// readyz is ready when kube-apiserver says so of itself.
func readyz(c clients) check {
	return func(ctx context.Context) error {
		body, err := c.kubernetes.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("%w: %s", err, body)
		}
		return nil
	}
}
