// The environment variables of a container.

package kubelet

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// inherited is what of this process's environment a container sees: what an image would bring.
var inherited = []string{"HOME", "LANG", "TMPDIR"}

// environment returns KEY=VALUE pairs; what comes later wins.
func (w *worker) environment(ctx context.Context, c corev1.Container) ([]string, error) {
	host, port, err := net.SplitHostPort(w.k.api)
	if err != nil {
		return nil, err
	}
	path := os.Getenv("PATH")
	if w.k.pathPrefix != "" {
		path = w.k.pathPrefix + string(os.PathListSeparator) + path
	}
	variables := newVariables()
	variables.set("PATH", path)
	variables.set("HOSTNAME", w.pod.Name)
	variables.set("KUBERNETES_SERVICE_HOST", host)
	variables.set("KUBERNETES_SERVICE_PORT", port)
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			variables.set(name, value)
		}
	}
	for _, pair := range w.k.podEnv {
		name, value, _ := strings.Cut(pair, "=")
		variables.set(name, value)
	}
	for _, from := range c.EnvFrom {
		values, err := w.envFrom(ctx, from)
		if err != nil {
			return nil, err
		}
		for name, value := range values {
			variables.set(from.Prefix+name, value)
		}
	}
	for _, env := range c.Env {
		value, found, err := w.envValue(ctx, env, variables)
		if err != nil {
			return nil, fmt.Errorf("container %s, variable %s: %w", c.Name, env.Name, err)
		}
		if found {
			variables.set(env.Name, value)
		}
	}
	return variables.pairs(), nil
}

func (w *worker) envFrom(ctx context.Context, from corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case from.ConfigMapRef != nil:
		return w.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		return w.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
	}
	return nil, nil
}

// envValue returns the value of one variable; an optional one may not be found.
func (w *worker) envValue(ctx context.Context, env corev1.EnvVar, known *variables) (value string, found bool, err error) {
	from := env.ValueFrom
	switch {
	case from == nil:
		return expansion.Expand(env.Value, expansion.MappingFuncFor(known.values)), true, nil
	case from.FieldRef != nil:
		value, err := w.field(from.FieldRef.FieldPath)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		values, err := w.configMap(ctx, ref.Name, ref.Optional)
		return pick(values, ref.Key, ref.Optional, err)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		values, err := w.secret(ctx, ref.Name, ref.Optional)
		return pick(values, ref.Key, ref.Optional, err)
	}
	return "", false, fmt.Errorf("the rig's kubelet does not play this kind of valueFrom")
}

func pick(values map[string]string, key string, optional *bool, err error) (string, bool, error) {
	if err != nil {
		return "", false, err
	}
	value, ok := values[key]
	if !ok && (optional == nil || !*optional) {
		return "", false, fmt.Errorf("there is no key %s", key)
	}
	return value, ok, nil
}

// field is the downward API.
func (w *worker) field(path string) (string, error) {
	switch path {
	case "spec.nodeName":
		return NodeName, nil
	case "spec.serviceAccountName":
		return w.pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.podIP", "status.hostIPs", "status.podIPs":
		return hostIP, nil
	}
	return fieldpath.ExtractFieldPathAsString(w.pod, path)
}

// configMap returns the data of a ConfigMap, nothing if it is optional and missing.
func (w *worker) configMap(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	object, err := w.k.client.CoreV1().ConfigMaps(w.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, ignoreMissing(err, optional)
	}
	values := map[string]string{}
	for key, value := range object.BinaryData {
		values[key] = string(value)
	}
	for key, value := range object.Data {
		values[key] = value
	}
	return values, nil
}

func (w *worker) secret(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	object, err := w.k.client.CoreV1().Secrets(w.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, ignoreMissing(err, optional)
	}
	values := map[string]string{}
	for key, value := range object.Data {
		values[key] = string(value)
	}
	return values, nil
}

func ignoreMissing(err error, optional *bool) error {
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	return err
}

// variables keeps the order in which they were first set.
type variables struct {
	order  []string
	values map[string]string
}

func newVariables() *variables { return &variables{values: map[string]string{}} }

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.order = append(v.order, name)
	}
	v.values[name] = value
}

func (v *variables) pairs() []string {
	pairs := make([]string, 0, len(v.order))
	for _, name := range v.order {
		pairs = append(pairs, name+"="+v.values[name])
	}
	return pairs
}
