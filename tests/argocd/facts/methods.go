// Methods and their REST bindings.

package facts

import (
	"fmt"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Method is one gRPC method.
type Method struct {
	Path            string    `json:"path"`
	ClientStreaming bool      `json:"client_streaming"`
	ServerStreaming bool      `json:"server_streaming"`
	Request         string    `json:"request"`
	Response        string    `json:"response"`
	REST            []Binding `json:"rest"`
}

// Binding is one way to call a method over HTTP/1.1. Body is "*" for the whole request, a field's name, or empty.
type Binding struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   string `json:"body"`
}

func methodsOf(file *descriptorpb.FileDescriptorProto) ([]Method, error) {
	var methods []Method
	for _, service := range file.GetService() {
		for _, m := range service.GetMethod() {
			method := Method{
				Path:            fmt.Sprintf("/%s/%s", qualify(file.GetPackage(), service.GetName()), m.GetName()),
				ClientStreaming: m.GetClientStreaming(),
				ServerStreaming: m.GetServerStreaming(),
				Request:         typeName(m.GetInputType()),
				Response:        typeName(m.GetOutputType()),
				REST:            []Binding{},
			}
			if rule, ok := proto.GetExtension(m.GetOptions(), annotations.E_Http).(*annotations.HttpRule); ok && rule != nil {
				for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
					binding, err := bindingOf(r)
					if err != nil {
						return nil, fmt.Errorf("%s: %w", method.Path, err)
					}
					method.REST = append(method.REST, binding)
				}
			}
			methods = append(methods, method)
		}
	}
	return methods, nil
}

func bindingOf(rule *annotations.HttpRule) (Binding, error) {
	binding := Binding{Body: rule.GetBody()}
	switch pattern := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		binding.Method, binding.Path = "GET", pattern.Get
	case *annotations.HttpRule_Put:
		binding.Method, binding.Path = "PUT", pattern.Put
	case *annotations.HttpRule_Post:
		binding.Method, binding.Path = "POST", pattern.Post
	case *annotations.HttpRule_Delete:
		binding.Method, binding.Path = "DELETE", pattern.Delete
	case *annotations.HttpRule_Patch:
		binding.Method, binding.Path = "PATCH", pattern.Patch
	default:
		return binding, fmt.Errorf("a REST binding of a kind that is not known here: %v", rule)
	}
	return binding, nil
}
