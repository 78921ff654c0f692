// Argo CD's own install.yaml, applied to the cluster but for its workloads, which run as our child processes.

package up

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"

	"syncgate.dev/tests/argocd/fixtures"
)

// resources are the kinds that install.yaml and the fixtures hold and where they are served; the workloads among
// them have no resource here and are skipped.
var resources = map[string]schema.GroupVersionResource{
	"ClusterRole":              {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"ClusterRoleBinding":       {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	"Role":                     {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":              {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"ConfigMap":                {Version: "v1", Resource: "configmaps"},
	"Secret":                   {Version: "v1", Resource: "secrets"},
	"Service":                  {Version: "v1", Resource: "services"},
	"ServiceAccount":           {Version: "v1", Resource: "serviceaccounts"},
	"CustomResourceDefinition": {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	"Application":              {Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"},
	"AppProject":               {Group: "argoproj.io", Version: "v1alpha1", Resource: "appprojects"},
}

var workloads = map[string]bool{"Deployment": true, "StatefulSet": true, "NetworkPolicy": true}

var clusterScoped = map[string]bool{"ClusterRole": true, "ClusterRoleBinding": true, "CustomResourceDefinition": true}

// settings is what the rig sets in Argo CD's ConfigMaps and Secrets, by name of the object.
type settings map[string]map[string]string

func argocdSettings(url, account, password string, o Options) (settings, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return nil, err
	}
	s := settings{
		"argocd-cm": {
			"url":                    url,
			"accounts." + account:    "apiKey",
			"timeout.reconciliation": o.Reconciliation.String(),
		},
		"argocd-rbac-cm": {"policy.csv": "g, " + account + ", role:admin\n"},
		"argocd-secret": {
			"admin.password":      string(hash),
			"admin.passwordMtime": time.Now().UTC().Format(time.RFC3339),
		},
	}
	if o.AppHealth {
		lua, err := fixtures.ApplicationHealth()
		if err != nil {
			return nil, err
		}
		s["argocd-cm"]["resource.customizations.health.argoproj.io_Application"] = lua
	}
	return s, nil
}

// install creates what install.yaml holds, with the settings merged in.
func install(ctx context.Context, c clients, manifest string, s settings) error {
	data, err := os.ReadFile(manifest)
	if err != nil {
		return fmt.Errorf("cannot read Argo CD's manifests, which `rig build` puts beside the binary: %w", err)
	}
	return createAll(ctx, c, data, s)
}

// createAll creates the objects of a YAML stream.
func createAll(ctx context.Context, c clients, data []byte, s settings) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(object); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case object.GetKind() == "" || workloads[object.GetKind()]:
			continue
		}
		if err := s.mergeInto(object); err != nil {
			return err
		}
		if err := create(ctx, c, object); err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

func (s settings) mergeInto(object *unstructured.Unstructured) error {
	ours, ok := s[object.GetName()]
	if !ok {
		return nil
	}
	var field string
	switch object.GetKind() {
	case "ConfigMap":
		field = "data"
	case "Secret":
		field = "stringData"
	default:
		return nil
	}
	merged, _, err := unstructured.NestedStringMap(object.Object, field)
	if err != nil {
		return err
	}
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, ours)
	return unstructured.SetNestedStringMap(object.Object, merged, field)
}

func create(ctx context.Context, c clients, object *unstructured.Unstructured) error {
	resource, ok := resources[object.GetKind()]
	if !ok {
		return errors.New("the rig does not know this kind: add it to resources or workloads in install.go")
	}
	if clusterScoped[object.GetKind()] {
		_, err := c.dynamic.Resource(resource).Create(ctx, object, metav1.CreateOptions{})
		return err
	}
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = argocdNamespace
	}
	_, err := c.dynamic.Resource(resource).Namespace(namespace).Create(ctx, object, metav1.CreateOptions{})
	return err
}

// serveTLS gives argocd-server the certificate that it serves.
func serveTLS(ctx context.Context, c clients, pair keyFiles) error {
	cert, err := os.ReadFile(pair.public)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(pair.private)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "argocd-server-tls"},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key},
	}
	_, err = c.kubernetes.CoreV1().Secrets(argocdNamespace).Create(ctx, secret, metav1.CreateOptions{})
	return err
}
