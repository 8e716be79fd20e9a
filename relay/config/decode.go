package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder fills a file from what the TOML parser made of the text. The parser's own
// decoding stops at the first wrong type, takes keys in any case, and an integer for
// nanoseconds; this one goes on, and reports each wrong value under its key.
type decoder struct {
	*report
	general *file // what a listener's own tables leave out
}

// decode fills what listeners refer to before the rest.
func (d *decoder) decode(table map[string]any) {
	out, rest := reflect.ValueOf(d.general).Elem(), maps.Clone(table)
	for _, key := range []string{"limits", "networks"} {
		if value, ok := rest[key]; ok {
			d.table("", out, map[string]any{key: value})
			delete(rest, key)
		}
	}
	d.table("", out, rest)
}

// table fills a struct. Keys are matched exactly.
func (d *decoder) table(at string, out reflect.Value, in any) {
	table, ok := in.(map[string]any)
	if !ok {
		d.add(at, "must be a table, got %s", show(in))
		return
	}
	keys := keysOf(out.Type())
	for key, value := range table {
		n := slices.IndexFunc(keys, func(k string) bool { return k == key })
		if n < 0 {
			d.add(join(at, key), "unknown key%s", suggest(at, key, keys))
			continue
		}
		field := out.Type().Field(n)
		d.value(join(at, key), out.Field(n), value, field.Tag)
	}
}

// keysOf returns the key of each field of a struct, in order.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("toml")
	}
	return keys
}

// value fills one field of any kind.
func (d *decoder) value(at string, out reflect.Value, in any, tag reflect.StructTag) {
	if set := leaf(out, tag); set != nil {
		if err := set(in); err != nil {
			d.add(at, "%v", err)
		}
		return
	}
	switch out.Kind() {
	case reflect.Pointer:
		v := reflect.New(out.Type().Elem())
		d.element(at, v, in)
		out.Set(v)
	case reflect.Struct:
		d.table(at, out, in)
	case reflect.Map:
		d.named(at, out, in)
	case reflect.Slice:
		d.list(at, out, in, tag)
	}
}

// element fills a table that brings its own defaults.
func (d *decoder) element(at string, pointer reflect.Value, in any) {
	if v, ok := pointer.Interface().(interface{ setDefaults() }); ok {
		v.setDefaults()
	}
	if l, ok := pointer.Interface().(*Listener); ok {
		l.Limits, l.Networks = d.general.Limits, d.general.Networks
	}
	d.table(at, pointer.Elem(), in)
}

// named fills a map of tables.
func (d *decoder) named(at string, out reflect.Value, in any) {
	table, ok := in.(map[string]any)
	if !ok {
		d.add(at, "must be tables, [%s.name], got %s", at, show(in))
		return
	}
	out.Set(reflect.MakeMap(out.Type()))
	for name, value := range table {
		v := reflect.New(out.Type().Elem())
		d.element(join(at, name), v, value)
		out.SetMapIndex(reflect.ValueOf(name), v.Elem())
	}
}

// list fills a slice of tables or of plain values.
func (d *decoder) list(at string, out reflect.Value, in any, tag reflect.StructTag) {
	elem := out.Type().Elem()
	plain := leaf(reflect.New(elem).Elem(), tag) != nil
	all, ok := in.([]any)
	if tables, isTables := in.([]map[string]any); isTables && !plain {
		ok = true
		for _, t := range tables {
			all = append(all, t)
		}
	}
	if !ok {
		what := "[[" + at + "]]"
		if plain {
			what = "a list, [ … ]"
		}
		d.add(at, "must be %s, got %s", what, show(in))
		return
	}
	out.SetZero()
	for i, value := range all {
		v := reflect.New(elem)
		if plain {
			d.value(index(at, i), v.Elem(), value, tag)
		} else {
			d.element(index(at, i), v, value)
		}
		out.Set(reflect.Append(out, v.Elem()))
	}
}

// leaf returns what sets a plain value, or nil where out is none.
func leaf(out reflect.Value, tag reflect.StructTag) func(in any) error {
	switch p := out.Addr().Interface().(type) {
	case *time.Duration:
		return func(in any) (err error) { *p, err = duration(in, tag.Get("zero") != ""); return }
	case *netip.Prefix:
		return func(in any) (err error) { *p, err = prefix(in); return }
	case *int64:
		if tag.Get("as") == "size" {
			return func(in any) (err error) { *p, err = size(in, tag.Get("zero") != ""); return }
		}
	case *int:
		return func(in any) (err error) { *p, err = number(in, tag.Get("min")); return }
	case *bool:
		return func(in any) (err error) { *p, err = yesNo(in); return }
	case *string:
		return func(in any) (err error) { *p, err = text(in, tag.Get("oneof")); return }
	}
	return nil
}

// show prints a value of the file as the operator may have written it.
func show(in any) string {
	switch v := in.(type) {
	case string:
		return fmt.Sprintf("%.60q", v)
	case map[string]any:
		return "a table"
	case []map[string]any, []any:
		return "a list"
	case time.Time:
		return "a date or time"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(in)
}

// suggest says which key may have been meant: one of the table that looks alike, or the
// same one of another table.
func suggest(at, key string, keys []string) string {
	best, distance := "", 1+len(key)/3
	for _, k := range keys {
		if d := editDistance(strings.ToLower(key), k); k != "-" && d <= distance {
			best, distance = k, d-1
		}
	}
	if best != "" {
		return "; did you mean " + join(at, best) + "?"
	}
	if elsewhere := find(reflect.TypeFor[file](), "", key); elsewhere != "" {
		return "; " + key + " belongs into " + elsewhere
	}
	return ""
}

// find returns the header of the first table that has the key.
func find(t reflect.Type, path, key string) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		if t.Kind() == reflect.Map {
			path += ".name"
		}
		if t.Kind() == reflect.Slice {
			path = "[" + path + "]"
		}
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[Limits]() && path != "limits" || t == reflect.TypeFor[Networks]() && path != "networks" {
		return "" // a listener has them too, but they are known by the general tables
	}
	for i, k := range keysOf(t) {
		if k == key && path != "" {
			return "[" + path + "]"
		}
		if found := find(t.Field(i).Type, strings.TrimPrefix(path+"."+k, "."), key); found != "" {
			return found
		}
	}
	return ""
}

// editDistance is how many characters must be put in, left out or changed to make a of b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
