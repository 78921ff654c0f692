package kubelet

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestImagesAreFolders(t *testing.T) {
	images := t.TempDir()
	k := &Kubelet{options: options{images: images}}
	if err := os.Mkdir(filepath.Join(images, "shop"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"rig.local/shop:1", "rig.local/shop"} {
		if folder, err := k.imageFolder(image); err != nil || folder != filepath.Join(images, "shop") {
			t.Errorf("%s: %q, %v", image, folder, err)
		}
	}
	for _, image := range []string{"shop:1", "rig.local/", "rig.local/../shop:1", "rig.local/other:1", "docker.io/shop"} {
		if _, err := k.imageFolder(image); !errors.Is(err, errNoImage) {
			t.Errorf("%s: want errNoImage, got %v", image, err)
		}
	}
}

func TestMountsStayInTheirVolume(t *testing.T) {
	volumes := map[string]string{"v": "/volumes/v"}
	c := corev1.Container{Name: "c", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/m", SubPath: "a/b", ReadOnly: true}}}
	mounts, err := mountsOf(c, volumes)
	if err != nil {
		t.Fatal(err)
	}
	if want := (mount{source: "/volumes/v/a/b", target: "/m", readOnly: true}); len(mounts) != 1 || mounts[0] != want {
		t.Errorf("got %v, want %v", mounts, want)
	}
	for _, bad := range []corev1.VolumeMount{
		{Name: "other", MountPath: "/m"},
		{Name: "v", MountPath: "/m", SubPath: "../w"},
		{Name: "v", MountPath: "/m", SubPathExpr: "$(POD)"},
	} {
		c.VolumeMounts = []corev1.VolumeMount{bad}
		if mounts, err := mountsOf(c, volumes); err == nil {
			t.Errorf("%+v was accepted: %v", bad, mounts)
		}
	}
}
