// Messages of Kubernetes that those of Argo CD refer to. Their packages register no descriptors any more; the tags of
// their Go types say the same.

package facts

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// roots are the types that Argo CD refers to; what they refer to follows.
var roots = []reflect.Type{
	reflect.TypeFor[corev1.LoadBalancerIngress](),
	reflect.TypeFor[corev1.NodeSystemInfo](),
	reflect.TypeFor[apiextensionsv1.JSON](),
	reflect.TypeFor[metav1.GroupKind](),
	reflect.TypeFor[metav1.LabelSelector](),
	reflect.TypeFor[metav1.ListMeta](),
	reflect.TypeFor[metav1.MicroTime](),
	reflect.TypeFor[metav1.ObjectMeta](),
	reflect.TypeFor[metav1.Time](),
	reflect.TypeFor[runtime.RawExtension](),
	reflect.TypeFor[intstr.IntOrString](),
}

// aliases are types that write themselves to the wire as another type does.
var aliases = map[reflect.Type]reflect.Type{
	reflect.TypeFor[metav1.Time]():      reflect.TypeFor[metav1.Timestamp](),
	reflect.TypeFor[metav1.MicroTime](): reflect.TypeFor[metav1.Timestamp](),
}

func (f *Facts) addKubernetes() error {
	for _, root := range roots {
		if err := f.addGoType(root); err != nil {
			return err
		}
	}
	return nil
}

func (f *Facts) addGoType(t reflect.Type) error {
	name := goTypeName(t)
	if _, known := f.Messages[name]; known {
		return nil
	}
	fields := t
	if alias, ok := aliases[t]; ok {
		fields = alias
	}
	message := Message{Fields: []Field{}}
	f.Messages[name] = message // before its fields, which may refer to it
	for field := range structFields(fields) {
		described, err := f.describe(field)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", name, field.Name, err)
		}
		message.Fields = append(message.Fields, described)
	}
	f.Messages[name] = message
	return nil
}

// structFields yields the fields that are on the wire.
func structFields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if tag := t.Field(i).Tag.Get("protobuf"); tag != "" && tag != "-" && !yield(t.Field(i)) {
				return
			}
		}
	}
}

func (f *Facts) describe(field reflect.StructField) (Field, error) {
	tag, err := parseTag(field)
	if err != nil {
		return Field{}, err
	}
	described := Field{Number: tag.number, Name: tag.name, JSON: tag.json, Kind: "scalar", Label: tag.label, Pointer: tag.pointer}
	t := field.Type
	for t.Kind() == reflect.Pointer || (t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8) {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct:
		described.Kind, described.Type = "message", goTypeName(t)
		return described, f.addGoType(t)
	case reflect.Map:
		described.Kind, described.Type = "map", fmt.Sprintf("map<%s, %s>", t.Key().Kind(), t.Elem().Kind())
	case reflect.Slice:
		described.Type = "bytes"
	default:
		described.Type = t.Kind().String() // Go and protobuf call these kinds the same
	}
	return described, nil
}

type fieldTag struct {
	number      int32
	name, label string
	json        string
	pointer     bool
}

// parseTag reads the tags of a generated or go-to-protobuf struct: `protobuf:"bytes,1,opt,name=x" json:"x,omitempty"`.
func parseTag(field reflect.StructField) (fieldTag, error) {
	words := strings.Split(field.Tag.Get("protobuf"), ",")
	if len(words) < 3 {
		return fieldTag{}, fmt.Errorf("unusual tag %q", field.Tag)
	}
	number, err := strconv.ParseInt(words[1], 10, 32)
	if err != nil {
		return fieldTag{}, err
	}
	tag := fieldTag{number: int32(number), label: map[string]string{"opt": "optional", "rep": "repeated", "req": "required"}[words[2]]}
	for _, word := range words[3:] {
		if name, ok := strings.CutPrefix(word, "name="); ok {
			tag.name = name
		}
	}
	tag.pointer = field.Type.Kind() == reflect.Pointer
	tag.json, _, _ = strings.Cut(field.Tag.Get("json"), ",")
	if tag.json == "" && !field.Anonymous {
		tag.json = field.Name // what encoding/json does without a tag
	}
	return tag, nil
}

// goTypeName is the full name that the type has in Kubernetes' .proto files.
func goTypeName(t reflect.Type) string {
	return strings.NewReplacer("/", ".", "-", "_").Replace(t.PkgPath()) + "." + t.Name()
}
