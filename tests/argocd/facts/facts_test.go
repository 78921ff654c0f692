package facts

import "testing"

// The numbers are those of Argo CD v3.6: who raises the version learns here that the API has changed.
func TestTheWholeAPIIsRead(t *testing.T) {
	facts, err := Collect()
	if err != nil {
		t.Fatal(err)
	}
	bindings := 0
	paths := map[string]bool{}
	for _, method := range facts.Methods {
		bindings += len(method.REST)
		paths[method.Path] = true
	}
	if len(facts.Methods) != 109 || len(paths) != 109 || bindings != 110 {
		t.Errorf("%d methods of %d paths with %d REST bindings, want 109, 109 and 110", len(facts.Methods), len(paths), bindings)
	}
	if !paths["/cluster.SettingsService/Get"] {
		t.Error("/cluster.SettingsService/Get is missing")
	}
}

// Every message and enum that a field or method refers to is there, too.
func TestNoMessageIsMissing(t *testing.T) {
	facts, err := Collect()
	if err != nil {
		t.Fatal(err)
	}
	known := func(name string) bool {
		_, message := facts.Messages[name]
		_, enum := facts.Enums[name]
		return message || enum || name == "google.protobuf.Empty"
	}
	for name, message := range facts.Messages {
		for _, field := range message.Fields {
			if (field.Kind == "message" || field.Kind == "enum") && !known(field.Type) {
				t.Errorf("%s.%s is a %s, which is missing", name, field.Name, field.Type)
			}
		}
	}
	for _, method := range facts.Methods {
		if !known(method.Request) || !known(method.Response) {
			t.Errorf("%s: %s or %s is missing", method.Path, method.Request, method.Response)
		}
	}
}
