// Package facts prints the API of the Argo CD that is built in: methods, REST bindings, messages. It reads the
// descriptors that the generated code carries, so it tells what the server really speaks, and needs no server.
package facts

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	gogo "github.com/gogo/protobuf/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	// Each registers the descriptors of its .proto file.
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/account"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/application"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/applicationset"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/certificate"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/cluster"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/events"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/gpgkey"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/notification"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/project"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/repocreds"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/repository"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/session"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/settings"
	_ "github.com/argoproj/argo-cd/v3/pkg/apiclient/version"
	_ "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	_ "github.com/argoproj/argo-cd/v3/reposerver/apiclient"
	_ "github.com/argoproj/argo-cd/v3/server/settings/oidc"
)

const (
	module = "github.com/argoproj/argo-cd/v3"
	// repoServer holds messages that the API uses, but a service of another, inner server.
	repoServer = "reposerver/repository/repository.proto"
)

// files are those that Argo CD's own packages register. Those of Kubernetes no longer register any; their messages
// are read from Go types instead (kubernetes.go).
var files = []string{
	"server/account/account.proto",
	"server/application/application.proto",
	"server/applicationset/applicationset.proto",
	"server/certificate/certificate.proto",
	"server/cluster/cluster.proto",
	"server/events/events.proto",
	"server/gpgkey/gpgkey.proto",
	"server/notification/notification.proto",
	"server/project/project.proto",
	"server/repocreds/repocreds.proto",
	"server/repository/repository.proto",
	"server/session/session.proto",
	"server/settings/oidc/claims.proto",
	"server/settings/settings.proto",
	"server/version/version.proto",
	repoServer,
	module + "/pkg/apis/application/v1alpha1/generated.proto",
}

// Facts is what is printed.
type Facts struct {
	Module   string             `json:"module"`
	Version  string             `json:"version"`
	Methods  []Method           `json:"methods"`
	Messages map[string]Message `json:"messages"`
	Enums    map[string]Enum    `json:"enums"`
	Samples  []Sample           `json:"applications"`
	Actions  []string           `json:"actions"`
	Patches  []Patch            `json:"patches"`
}

// Main runs the command and returns its exit code.
func Main(args []string) int {
	if len(args) > 0 {
		fmt.Fprintln(os.Stderr, "usage: argocd-rig facts")
		return 2
	}
	facts, err := Collect()
	if err != nil {
		fmt.Fprintln(os.Stderr, "facts:", err)
		return 1
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(facts); err != nil {
		fmt.Fprintln(os.Stderr, "facts:", err)
		return 1
	}
	return 0
}

// Collect reads all descriptors.
func Collect() (*Facts, error) {
	facts := &Facts{Module: module, Version: version(), Messages: map[string]Message{}, Enums: map[string]Enum{}, Patches: patches()}
	var err error
	for _, name := range files {
		var file *descriptorpb.FileDescriptorProto
		file, err = descriptor(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if name != repoServer {
			methods, err := methodsOf(file)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			facts.Methods = append(facts.Methods, methods...)
		}
		for _, message := range file.GetMessageType() {
			facts.addMessage(file.GetPackage(), message)
		}
		for _, enum := range file.GetEnumType() {
			facts.addEnum(file.GetPackage(), enum)
		}
	}
	if facts.Samples, err = samples(); err != nil {
		return nil, err
	}
	if facts.Actions, err = actions(); err != nil {
		return nil, err
	}
	return facts, facts.addKubernetes()
}

// descriptor unpacks what generated code registered for a .proto file.
func descriptor(name string) (*descriptorpb.FileDescriptorProto, error) {
	packed := gogo.FileDescriptor(name)
	if packed == nil {
		return nil, fmt.Errorf("no package that is built in registers it: it moved or is new in %s", module)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	file := &descriptorpb.FileDescriptorProto{}
	return file, proto.Unmarshal(data, file)
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	return ""
}
