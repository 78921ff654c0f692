package kubelet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAddress(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{portsAnnotation: "8081=40123,80=40124"}}}
	for port, want := range map[string]string{"8081": "127.0.0.1:40123", "80": "127.0.0.1:40124", "81": "127.0.0.1:81"} {
		if got := address(pod, port); got != want {
			t.Errorf("port %s is at %s, not at %s", port, got, want)
		}
	}
}
