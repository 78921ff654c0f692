// The volumes of a Pod, as folders with files.

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (w *worker) volumesDir() string { return filepath.Join(w.dir, "volumes") }

// makeVolumes makes each volume a folder and returns them by name.
func (w *worker) makeVolumes(ctx context.Context) (map[string]string, error) {
	folders := map[string]string{}
	for _, volume := range w.pod.Spec.Volumes {
		folder := filepath.Join(w.volumesDir(), volume.Name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		if err := w.fill(ctx, folder, volume.VolumeSource); err != nil {
			return nil, fmt.Errorf("volume %s: %w", volume.Name, err)
		}
		folders[volume.Name] = folder
	}
	return folders, nil
}

func (w *worker) fill(ctx context.Context, folder string, source corev1.VolumeSource) error {
	switch {
	case source.EmptyDir != nil:
		return nil
	case source.ConfigMap != nil:
		s := source.ConfigMap
		values, err := w.configMap(ctx, s.Name, s.Optional)
		return writeItems(folder, values, s.Items, s.Optional, err)
	case source.Secret != nil:
		s := source.Secret
		values, err := w.secret(ctx, s.SecretName, s.Optional)
		return writeItems(folder, values, s.Items, s.Optional, err)
	case source.DownwardAPI != nil:
		return w.writeFields(folder, source.DownwardAPI.Items)
	case source.Projected != nil:
		for _, projection := range source.Projected.Sources {
			if err := w.project(ctx, folder, projection); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("the rig's kubelet does not play this kind of volume")
}

func (w *worker) project(ctx context.Context, folder string, source corev1.VolumeProjection) error {
	switch {
	case source.ServiceAccountToken != nil:
		token, err := w.serviceAccountToken(ctx, source.ServiceAccountToken)
		if err != nil {
			return err
		}
		return writeFile(folder, source.ServiceAccountToken.Path, token)
	case source.ConfigMap != nil:
		s := source.ConfigMap
		values, err := w.configMap(ctx, s.Name, s.Optional)
		return writeItems(folder, values, s.Items, s.Optional, err)
	case source.Secret != nil:
		s := source.Secret
		values, err := w.secret(ctx, s.Name, s.Optional)
		return writeItems(folder, values, s.Items, s.Optional, err)
	case source.DownwardAPI != nil:
		return w.writeFields(folder, source.DownwardAPI.Items)
	}
	return errors.New("the rig's kubelet does not play this kind of projection")
}

// serviceAccountToken asks the API for a token with the wanted audience, bound to this Pod, as the real kubelet does.
// It is asked for once and not renewed: no container here runs as long as a token lives.
func (w *worker) serviceAccountToken(ctx context.Context, source *corev1.ServiceAccountTokenProjection) (string, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: w.pod.Name, UID: w.pod.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	answer, err := w.k.client.CoreV1().ServiceAccounts(w.pod.Namespace).
		CreateToken(ctx, w.pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}

// writeItems writes all values, or only the items chosen, under the paths that these give.
func writeItems(folder string, values map[string]string, items []corev1.KeyToPath, optional *bool, err error) error {
	if err != nil {
		return err
	}
	if len(items) == 0 {
		for key, value := range values {
			if err := writeFile(folder, key, value); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		value, found, err := pick(values, item.Key, optional, nil)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := writeFile(folder, item.Path, value); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) writeFields(folder string, items []corev1.DownwardAPIVolumeFile) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return errors.New("the rig's kubelet does not play resourceFieldRef")
		}
		value, err := w.field(item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		if err := writeFile(folder, item.Path, value); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(folder, path, content string) error {
	if !filepath.IsLocal(path) {
		return fmt.Errorf("path %s leaves its volume", path)
	}
	target := filepath.Join(folder, path)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, []byte(content), 0o644)
}
