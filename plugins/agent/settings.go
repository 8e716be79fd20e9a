package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	agentv1 "example.org/relay/proto/agent/v1"
)

// FieldError is a problem with one setting.
type FieldError struct {
	Field   string // dotted name; empty: the settings as a whole
	Problem string // what is wrong and what would be right
}

func (e FieldError) Error() string {
	if e.Field == "" {
		return e.Problem
	}
	return e.Field + ": " + e.Problem
}

func decodeSettings(data []byte, v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("settings are decoded into a pointer to a struct, not %T", v)
	}
	var problems []error
	if len(bytes.TrimSpace(data)) > 0 {
		problems = decodeStruct(data, target.Elem(), "")
	}
	if len(problems) == 0 {
		if c, ok := v.(interface{ Validate() error }); ok {
			problems = append(problems, c.Validate())
		}
	}
	return errors.Join(problems...)
}

// decodeStruct decodes field by field, so that every problem is found and has a name.
func decodeStruct(data []byte, v reflect.Value, path string) []error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(data, &given); err != nil {
		return []error{FieldError{strings.TrimSuffix(path, "."), "must be a table, not " + kindOf(data)}}
	}
	fields := settingsFields(v)
	var problems []error
	for _, name := range sortedKeys(given) {
		field, ok := fields[name]
		if !ok {
			problem := "unknown setting; there are none"
			if len(fields) > 0 {
				problem = "unknown setting; there are " + strings.Join(sortedKeys(fields), ", ")
			}
			problems = append(problems, FieldError{path + name, problem})
			continue
		}
		problems = append(problems, decodeField(given[name], field, path+name)...)
	}
	return problems
}

func decodeField(data []byte, v reflect.Value, name string) []error {
	_, itself := v.Addr().Interface().(json.Unmarshaler)
	switch {
	case itself:
	case v.Kind() == reflect.Struct:
		return decodeStruct(data, v, name+".")
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		return decodeTables(data, v, name)
	}
	// A bare number would be nanoseconds, which nobody means.
	if v.Type() == reflect.TypeFor[time.Duration]() {
		var text string
		d, err := time.Duration(0), json.Unmarshal(data, &text)
		if err == nil {
			d, err = time.ParseDuration(text)
		}
		if err != nil {
			return []error{FieldError{name, `must be a duration with a unit, such as "10s"`}}
		}
		v.SetInt(int64(d))
		return nil
	}
	err := json.Unmarshal(data, v.Addr().Interface())
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return []error{FieldError{name, fmt.Sprintf("must be %s, not %s", wanted(v.Type()), kindOf(data))}}
	}
	return []error{FieldError{name, err.Error()}}
}

// decodeTables decodes a list of tables, each as a table of its own. The first is name[0].
func decodeTables(data []byte, v reflect.Value, name string) []error {
	var given []json.RawMessage
	if err := json.Unmarshal(data, &given); err != nil {
		return []error{FieldError{name, fmt.Sprintf("must be %s, not %s", wanted(v.Type()), kindOf(data))}}
	}
	list := reflect.MakeSlice(v.Type(), len(given), len(given))
	var problems []error
	for i := range given {
		problems = append(problems, decodeField(given[i], list.Index(i), fmt.Sprintf("%s[%d]", name, i))...)
	}
	v.Set(list)
	return problems
}

// settingsFields maps the names in use to the fields of v.
func settingsFields(v reflect.Value) map[string]reflect.Value {
	fields := make(map[string]reflect.Value)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch name {
		case "-":
			continue
		case "":
			name = strings.ToLower(f.Name)
		}
		fields[name] = v.Field(i)
	}
	return fields
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Slice, reflect.Array:
		return "a list (each " + wanted(t.Elem()) + ")"
	case reflect.Map:
		return "a table (each value " + wanted(t.Elem()) + ")"
	case reflect.Struct:
		return "a table"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number in range of " + t.Kind().String()
}

func kindOf(data []byte) string {
	switch data = bytes.TrimSpace(data); {
	case len(data) == 0:
		return "nothing"
	case data[0] == '"':
		return "a string"
	case data[0] == '[':
		return "a list"
	case data[0] == '{':
		return "a table"
	case data[0] == 't', data[0] == 'f':
		return string(data)
	}
	return "the number " + string(data)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// fieldErrors takes apart what a constructor returned: joined errors one by one, also where
// the constructor wrapped them.
func fieldErrors(err error) []*agentv1.FieldError {
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e := e.(type) {
		case FieldError:
			return []*agentv1.FieldError{{Field: e.Field, Problem: e.Problem}}
		case interface{ Unwrap() []error }:
			var all []*agentv1.FieldError
			for _, one := range e.Unwrap() {
				all = append(all, fieldErrors(one)...)
			}
			return all
		}
	}
	return []*agentv1.FieldError{{Problem: err.Error()}}
}
