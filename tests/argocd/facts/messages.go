// Messages and their fields, as .proto files declare them.

package facts

import (
	"strings"

	gogo "github.com/gogo/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Message is a message type; a map entry is one, too, as on the wire.
type Message struct {
	MapEntry bool    `json:"map_entry,omitempty"`
	Fields   []Field `json:"fields"`
}

// Field is one field. Type is a scalar's name as in .proto files, or the full name of a message or enum, which Kind
// tells apart. JSON is the key in the REST API: "-" if it is never there as such, empty if the fields of the message
// stand in its place. Pointer tells a Go field that can be absent from one that is then zero.
type Field struct {
	Number int32  `json:"number"`
	Name   string `json:"name"`
	JSON   string `json:"json"`
	Kind   string `json:"kind"`
	Type   string `json:"type"`
	Label  string `json:"label"`
	OneOf  string `json:"oneof,omitempty"`

	Pointer bool `json:"pointer,omitempty"`
}

// Enum maps the names of an enum to its numbers.
type Enum map[string]int32

func (f *Facts) addMessage(scope string, message *descriptorpb.DescriptorProto) {
	name := qualify(scope, message.GetName())
	result := Message{MapEntry: message.GetOptions().GetMapEntry(), Fields: []Field{}}
	tags := tagsOf(name, result.MapEntry)
	for _, field := range message.GetField() {
		kind, kindType := kindOf(field)
		described := Field{
			Number: field.GetNumber(), Name: field.GetName(), JSON: field.GetName(),
			Kind: kind, Type: kindType, Label: enumWord(field.GetLabel().String()),
		}
		if tag, ok := tags[field.GetNumber()]; ok { // else a map entry or a oneof, which has no field in the struct
			described.JSON, described.Pointer = tag.json, tag.pointer
		}
		if field.OneofIndex != nil {
			described.OneOf = message.GetOneofDecl()[field.GetOneofIndex()].GetName()
		}
		result.Fields = append(result.Fields, described)
	}
	f.Messages[name] = result
	for _, nested := range message.GetNestedType() {
		f.addMessage(name, nested)
	}
	for _, nested := range message.GetEnumType() {
		f.addEnum(name, nested)
	}
}

// tagsOf returns what the tags say of each field number. Argo CD's REST API is encoding/json over the generated
// structs, so their tags count, not what protobuf's own JSON mapping would say.
func tagsOf(message string, mapEntry bool) map[int32]fieldTag {
	tags := map[int32]fieldTag{}
	t := gogo.MessageType(message)
	if t == nil || mapEntry {
		return tags
	}
	for field := range structFields(t.Elem()) {
		if tag, err := parseTag(field); err == nil {
			tags[tag.number] = tag
		}
	}
	return tags
}

func (f *Facts) addEnum(scope string, enum *descriptorpb.EnumDescriptorProto) {
	values := Enum{}
	for _, value := range enum.GetValue() {
		values[value.GetName()] = value.GetNumber()
	}
	f.Enums[qualify(scope, enum.GetName())] = values
}

func kindOf(field *descriptorpb.FieldDescriptorProto) (kind, name string) {
	switch field.GetType() {
	case descriptorpb.FieldDescriptorProto_TYPE_MESSAGE:
		return "message", typeName(field.GetTypeName())
	case descriptorpb.FieldDescriptorProto_TYPE_ENUM:
		return "enum", typeName(field.GetTypeName())
	default:
		return "scalar", enumWord(field.GetType().String())
	}
}

// enumWord turns TYPE_STRING into string and LABEL_REPEATED into repeated.
func enumWord(constant string) string {
	_, word, _ := strings.Cut(constant, "_")
	return strings.ToLower(word)
}

// typeName drops the dot that marks a name as complete.
func typeName(name string) string { return strings.TrimPrefix(name, ".") }

func qualify(scope, name string) string {
	if scope == "" {
		return name
	}
	return scope + "." + name
}
