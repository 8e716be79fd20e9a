package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

const manual = "../../config.toml"

func TestManualLoads(t *testing.T) {
	c, err := Load(manual)
	if err != nil {
		t.Fatal(err)
	}
	if c.FrontEnd == nil || c.FrontEnd.Listeners[0].Address != "127.0.0.1:2525" {
		t.Errorf("FrontEnd = %+v", c.FrontEnd)
	}
	if set := c.NotInForce(); len(set) > 0 {
		t.Errorf("sets what has no effect: %q", set)
	}
}

// uncommented is the manual with all settings made.
func uncommented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAllString(string(text), "$1")
}

func TestManualHasEveryKey(t *testing.T) {
	var table map[string]any
	md, err := toml.Decode(uncommented(t), &table)
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, key := range md.Keys() {
		if key[0] == "next_hop" && len(key) > 1 {
			key[1] = "*"
		}
		if at := slices.IndexFunc(key, ofListener); at > 0 && key[at-1] == "listener" {
			key = key[:at+1]
		}
		if len(key) == 3 && key[1] == "listener" && key[0] != "frontend" {
			key = key[:2]
		}
		if name := key.String(); !slices.Contains(written, name) {
			written = append(written, strings.ReplaceAll(name, `"*"`, "*"))
		}
	}
	known := schemaKeys(reflect.TypeFor[file](), "")
	if diff := cmp.Diff(innermost(known), innermost(written)); diff != "" {
		t.Errorf("keys of the relay (-) and of the manual (+):\n%s", diff)
	}
}

// ofListener reports the tables of a listener that have the keys of the general ones.
func ofListener(key string) bool { return key == "limits" || key == "networks" }

// schemaKeys returns the path of every key that a file can have.
func schemaKeys(t reflect.Type, path string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return schemaKeys(t.Elem(), path)
	case reflect.Map:
		return schemaKeys(t.Elem(), path+".*")
	case reflect.Struct:
	default:
		return nil
	}
	var all []string
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("toml")
		if key == "" || key == "-" {
			continue
		}
		below := t.Field(i).Type
		if strings.HasSuffix(path, "listener") && ofListener(key) {
			below = reflect.TypeFor[string]()
		}
		if strings.HasPrefix(path, "hub.l") || strings.HasPrefix(path, "edge.l") {
			continue // "the keys are those of frontend.listener"
		}
		key = strings.TrimPrefix(path+"."+key, ".")
		all = append(append(all, key), schemaKeys(below, key)...)
	}
	return all
}

// innermost drops the keys of tables that have others in them.
func innermost(keys []string) []string {
	slices.Sort(keys)
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool {
		return slices.ContainsFunc(keys, func(other string) bool { return strings.HasPrefix(other, k+".") })
	})
}

// What the manual sets and what an empty file means is the same, wherever there is a default.
func TestManualHasTheDefaults(t *testing.T) {
	set, err := Load(manual)
	if err != nil {
		t.Fatal(err)
	}
	left, err := Parse(manual, []byte(`
		[[accepted_domain]]
		name = "example.org"
		[next_hop.mailserver]
		addresses = ["127.0.0.1:1025"]
		[frontend]
		next_hop = "mailserver"
		[[frontend.listener]]
		address = "127.0.0.1:2525"
	`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(left, set, cmp.Comparer(func(a, b Networks) bool {
		return len(a.Relay)+len(a.Proxy)+len(a.XClient) == len(b.Relay)+len(b.Proxy)+len(b.XClient)
	})); diff != "" {
		t.Errorf("defaults (-) and manual (+):\n%s", diff)
	}
}
