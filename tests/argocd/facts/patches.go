// Patches and what the library that argocd-server uses makes of them.

package facts

import (
	"encoding/json"

	jsonpatch "github.com/evanphx/json-patch"
)

// Patch is a patch of an object. After is empty where the library refuses it.
type Patch struct {
	Kind   string          `json:"kind"`
	Patch  string          `json:"patch"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after,omitempty"`
}

const patched = `{"a":{"b":1,"c":null,"list":[1,2,{"d":3}],"":"blank","x/y":"slash","m~n":"tilde","0":"digit"},"text":"t"}`

var jsonPatches = []string{
	`[]`,
	`[{"op":"add","path":"/a/new","value":{"x":null}}]`,
	`[{"op":"add","path":"/a/b","value":2}]`,
	`[{"op":"add","path":"/a/list/0","value":0}]`,
	`[{"op":"add","path":"/a/list/3","value":4}]`,
	`[{"op":"add","path":"/a/list/4","value":4}]`,
	`[{"op":"add","path":"/a/list/-","value":null}]`,
	`[{"op":"add","path":"/a/list/-1","value":4}]`,
	`[{"op":"add","path":"/a/list/01","value":4}]`,
	`[{"op":"add","path":"/a/0","value":"other"}]`,
	`[{"op":"add","path":"/a/list/2/e","value":4}]`,
	`[{"op":"add","path":"/missing/x","value":4}]`,
	`[{"op":"add","path":"/text/x","value":4}]`,
	`[{"op":"add","path":"/a/c/x","value":4}]`,
	`[{"op":"add","path":"a/b","value":2}]`,
	`[{"op":"add","path":"","value":{}}]`,
	`[{"op":"add","path":"/","value":1}]`,
	`[{"op":"add","path":"/a/","value":"named"}]`,
	`[{"op":"add","path":"/a/x~1y","value":1}]`,
	`[{"op":"add","path":"/a/m~0n","value":1}]`,
	`[{"op":"add","path":"/a/m~2n","value":1}]`,
	`[{"op":"add","path":"/a/~01","value":1}]`,
	`[{"op":"remove","path":"/a/b"}]`,
	`[{"op":"remove","path":"/a/c"}]`,
	`[{"op":"remove","path":"/a/missing"}]`,
	`[{"op":"remove","path":"/a/list/1"}]`,
	`[{"op":"remove","path":"/a/list/-1"}]`,
	`[{"op":"remove","path":"/a/list/9"}]`,
	`[{"op":"replace","path":"/a/b","value":{"z":[]}}]`,
	`[{"op":"replace","path":"/a/c","value":1}]`,
	`[{"op":"replace","path":"/a/missing","value":1}]`,
	`[{"op":"replace","path":"/a/list/2/d","value":null}]`,
	`[{"op":"replace","path":"/a/list/-","value":1}]`,
	`[{"op":"replace","path":"","value":{}}]`,
	`[{"op":"move","from":"/a/b","path":"/b"}]`,
	`[{"op":"move","from":"/a/list/0","path":"/a/list/2"}]`,
	`[{"op":"move","from":"/a/list/2","path":"/a/list/-"}]`,
	`[{"op":"move","from":"/a/b","path":"/a/b"}]`,
	`[{"op":"move","from":"/a","path":"/a/b"}]`,
	`[{"op":"copy","from":"/a/list","path":"/copy"},{"op":"add","path":"/copy/0","value":9}]`,
	`[{"op":"copy","from":"/a/c","path":"/c"}]`,
	`[{"op":"copy","from":"/a/missing","path":"/c"}]`,
	`[{"op":"copy","from":"/a/list/-1","path":"/c"}]`,
	`[{"op":"test","path":"/a/b","value":1}]`,
	`[{"op":"test","path":"/a/b","value":1.0}]`,
	`[{"op":"test","path":"/a/b","value":2}]`,
	`[{"op":"test","path":"/a/c","value":null}]`,
	`[{"op":"test","path":"/a/missing","value":null}]`,
	`[{"op":"test","path":"/a/list/2","value":{"d":3}}]`,
	`[{"op":"ADD","path":"/a/b","value":2}]`,
	`[{"Op":"add","path":"/a/b","value":2}]`,
	`[{"op":"add","op":"remove","path":"/a/b"}]`,
	`[{"op":"add","path":"/a/new"}]`,
	`[{"op":"remove","path":"/a/list/0"},{"op":"remove","path":"/a/list/0"},{"op":"add","path":"/a/list/-","value":{"n":1}}]`,
	`{}`,
	`null`,
}

var mergePatches = []string{
	`{}`,
	`{"a":null}`,
	`{"a":{"b":null,"new":{"x":null,"y":1}}}`,
	`{"a":{"list":[{"z":1},2]}}`,
	`{"a":{"list":[{"z":null},2]}}`,
	`{"a":{"list":[null]}}`,
	`{"a":{"c":{"x":1}}}`,
	`{"a":{"b":{"x":1,"y":null}}}`,
	`{"text":{"x":{"y":null}}}`,
	`{"A":1}`,
	`{"a":1,"a":2}`,
	`{"a":{}}`,
	`{"a":[]}`,
	`[]`,
	`null`,
	`1`,
}

func patches() []Patch {
	var out []Patch
	for _, text := range jsonPatches {
		after := []byte(nil)
		if patch, err := jsonpatch.DecodePatch([]byte(text)); err == nil {
			if after, err = patch.Apply([]byte(patched)); err != nil {
				after = nil
			}
		}
		out = append(out, Patch{Kind: "json", Patch: text, Before: json.RawMessage(patched), After: after})
	}
	for _, text := range mergePatches {
		after, err := jsonpatch.MergePatch([]byte(patched), []byte(text))
		if err != nil {
			after = nil
		}
		out = append(out, Patch{Kind: "merge", Patch: text, Before: json.RawMessage(patched), After: after})
	}
	return out
}
