// Built-in resource actions.

package facts

import (
	"io/fs"
	"strings"

	"github.com/argoproj/argo-cd/v3/resource_customizations"
)

// actions names the scripts that are built in, as GROUP/KIND/ACTION.
func actions() ([]string, error) {
	names := []string{}
	err := fs.WalkDir(resource_customizations.Embedded, ".", func(path string, _ fs.DirEntry, err error) error {
		parts := strings.Split(path, "/")
		if len(parts) == 5 && parts[2] == "actions" && parts[4] == "action.lua" {
			names = append(names, strings.Join([]string{parts[0], parts[1], parts[3]}, "/"))
		}
		return err
	})
	return names, err
}
