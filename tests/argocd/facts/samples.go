// Applications in both of their forms, as Argo CD's own code writes them.

package facts

import (
	"encoding/json"
	"fmt"
	"sort"
	"time"

	v1alpha1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Sample is one application.
type Sample struct {
	Name     string          `json:"name"`
	JSON     json.RawMessage `json:"json"`
	Protobuf []byte          `json:"protobuf"`
}

// samples writes applications whose two forms differ most: zero values behind pointers and not, what is inlined,
// free JSON, numbers that may be texts, times.
func samples() ([]Sample, error) {
	yes, no, zero, empty, seconds := true, false, int64(0), "", int64(30)
	app := func(spec v1alpha1.ApplicationSpec) v1alpha1.Application {
		return v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "argocd"}, Spec: spec}
	}
	source := func(source v1alpha1.ApplicationSource) v1alpha1.Application {
		source.RepoURL = "https://git.example/shop"
		return app(v1alpha1.ApplicationSpec{Source: &source})
	}
	metadata := app(v1alpha1.ApplicationSpec{})
	metadata.ObjectMeta = metav1.ObjectMeta{
		Name:                       "shop",
		CreationTimestamp:          metav1.NewTime(time.Unix(1767323045, 0)),
		DeletionTimestamp:          &metav1.Time{Time: time.Unix(0, 0)},
		DeletionGracePeriodSeconds: &zero,
		Labels:                     map[string]string{"a": "", "b": "c"},
		Annotations:                map[string]string{},
		Finalizers:                 []string{"resources-finalizer.argocd.argoproj.io"},
		OwnerReferences:            []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "a", UID: "u", Controller: &no}},
		ManagedFields: []metav1.ManagedFieldsEntry{{
			Manager: "argocd-server", Operation: metav1.ManagedFieldsOperationUpdate, Time: &metav1.Time{Time: time.Unix(1767323045, 0)},
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:project":{}}}`),
		}},
	}
	applications := map[string]v1alpha1.Application{
		"blank":    {},
		"metadata": metadata,
		"policy": app(v1alpha1.ApplicationSpec{
			Project:     "default",
			Destination: v1alpha1.ApplicationDestination{Name: "in-cluster", Namespace: "shop"},
			SyncPolicy: &v1alpha1.SyncPolicy{
				Automated:                &v1alpha1.SyncPolicyAutomated{Prune: &yes, SelfHeal: &no, Enabled: &no},
				SyncOptions:              []string{"CreateNamespace=true"},
				Retry:                    &v1alpha1.RetryStrategy{Limit: 0, Backoff: &v1alpha1.Backoff{Duration: "5s", Factor: &zero}, Refresh: true},
				ManagedNamespaceMetadata: &v1alpha1.ManagedNamespaceMetadata{Labels: map[string]string{"a": "b"}},
			},
			IgnoreDifferences:    v1alpha1.IgnoreDifferences{{Group: "apps", Kind: "Deployment", JSONPointers: []string{"/spec/replicas"}}},
			Info:                 []v1alpha1.Info{{Name: "url", Value: "https://shop.example"}},
			RevisionHistoryLimit: &seconds,
		}),
		"automated": app(v1alpha1.ApplicationSpec{SyncPolicy: &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}}),
		"helm": source(v1alpha1.ApplicationSource{TargetRevision: "main", Helm: &v1alpha1.ApplicationSourceHelm{
			ValueFiles:   []string{"values.yaml", ""},
			Parameters:   []v1alpha1.HelmParameter{{Name: "a", Value: "", ForceString: true}, {}},
			ValuesObject: &runtime.RawExtension{Raw: []byte(`{"Replicas":2,"replicas":0,"on":false,"none":null,"list":[],"half":0.5,"html":"a&b"}`)},
			SkipTests:    true,
		}}),
		"kustomize": source(v1alpha1.ApplicationSource{Kustomize: &v1alpha1.ApplicationSourceKustomize{
			NamePrefix: "a-",
			Images:     v1alpha1.KustomizeImages{"web=web:1"},
			Replicas: v1alpha1.KustomizeReplicas{
				{Name: "web", Count: intstr.FromInt32(0)}, {Name: "db", Count: intstr.FromString("2")}, {Name: "big", Count: intstr.FromInt32(-1)},
			},
			Patches: v1alpha1.KustomizePatches{{
				Patch: "[]", Options: map[string]bool{"allowNameChange": false},
				Target: &v1alpha1.KustomizeSelector{
					KustomizeResId: v1alpha1.KustomizeResId{KustomizeGvk: v1alpha1.KustomizeGvk{Kind: "Deployment"}, Name: "web"}, LabelSelector: "a=b",
				},
			}},
		}}),
		"plugin": source(v1alpha1.ApplicationSource{Plugin: &v1alpha1.ApplicationSourcePlugin{
			Env: v1alpha1.Env{{Name: "A", Value: ""}},
			Parameters: v1alpha1.ApplicationSourcePluginParameters{
				{Name: "text", String_: &empty},
				{Name: "map", OptionalMap: &v1alpha1.OptionalMap{}},
				{Name: "array", OptionalArray: &v1alpha1.OptionalArray{Array: []string{}}},
				{Name: "filled", OptionalMap: &v1alpha1.OptionalMap{Map: map[string]string{"a": ""}}, OptionalArray: &v1alpha1.OptionalArray{Array: []string{""}}},
			},
		}}),
		"sources": app(v1alpha1.ApplicationSpec{
			Sources: v1alpha1.ApplicationSources{
				{RepoURL: "a", Ref: "values"},
				{RepoURL: "b", Chart: "shop", Directory: &v1alpha1.ApplicationSourceDirectory{
					Jsonnet: v1alpha1.ApplicationSourceJsonnet{ExtVars: []v1alpha1.JsonnetVar{{Name: "a", Value: "b", Code: true}}},
				}},
			},
			SourceHydrator: &v1alpha1.SourceHydrator{
				DrySource:  v1alpha1.DrySource{RepoURL: "a", TargetRevision: "main", Path: "."},
				SyncSource: v1alpha1.SyncSource{TargetBranch: "env", Path: "shop"},
				HydrateTo:  &v1alpha1.HydrateTo{},
			},
		}),
	}
	var out []Sample
	for name, application := range applications {
		object, err := json.Marshal(&application)
		if err != nil {
			return nil, fmt.Errorf("sample %s: %w", name, err)
		}
		message, err := application.Marshal()
		if err != nil {
			return nil, fmt.Errorf("sample %s: %w", name, err)
		}
		out = append(out, Sample{Name: name, JSON: object, Protobuf: message})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}
