// The AppProject and the Applications of the shop.

package up

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"syncgate.dev/tests/argocd/fixtures"
)

// createApplications creates the project, the parents and, if asked to, the children that the parents would create.
func createApplications(ctx context.Context, c clients, git string, children bool) error {
	var objects [][]byte
	add := func(data []byte, err error) error {
		objects = append(objects, data)
		return err
	}
	if err := add(fixtures.Cluster("project", git)); err != nil {
		return err
	}
	for _, environment := range fixtures.Environments {
		if err := add(fixtures.Cluster(fixtures.Namespace(environment), git)); err != nil {
			return err
		}
		if !children {
			continue
		}
		for _, component := range fixtures.Components {
			if err := add(fixtures.Child(component, environment, git)); err != nil {
				return err
			}
		}
	}
	for _, data := range objects {
		if err := createAll(ctx, c, data, nil); err != nil {
			return err
		}
	}
	return nil
}

// compared is done when the controller has compared every Application with its repository, and none has a condition
// that says it could not: then API server, repo-server and controller work together.
func compared(c clients) check {
	return func(ctx context.Context) error {
		list, err := c.dynamic.Resource(resources["Application"]).Namespace(argocdNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var waiting []string
		for _, app := range list.Items {
			conditions, _, _ := unstructured.NestedSlice(app.Object, "status", "conditions")
			status, _, _ := unstructured.NestedString(app.Object, "status", "sync", "status")
			switch {
			case len(conditions) > 0:
				waiting = append(waiting, fmt.Sprintf("%s: %v", app.GetName(), conditions))
			case status != "OutOfSync":
				waiting = append(waiting, fmt.Sprintf("%s: sync status %q", app.GetName(), status))
			}
		}
		if len(waiting) > 0 {
			return fmt.Errorf("not yet compared: %s", strings.Join(waiting, "; "))
		}
		return nil
	}
}
