package config_test

import (
	"strings"
	"testing"

	"example.org/relay/relay/config"
)

func TestSettingsJSON(t *testing.T) {
	got, err := config.SettingsJSON([]byte(`
		separator = "_" # a comment
		big = 9007199254740993
		ratio = 0.5
		leave = ["postmaster", "abuse"]
		none = []
		at = 2026-03-01T09:08:07.5+01:00
		local = 2026-03-01T09:08:07
		day = 2026-03-01
		time = 09:08:07
		[domain."example.org"]
		on = true
		[[rule]]
		when = { hour = 09:00:00 }
		[[rule]]
	`))
	want := `{"at":"2026-03-01T09:08:07.5+01:00","big":9007199254740993,"day":"2026-03-01",` +
		`"domain":{"example.org":{"on":true}},"leave":["postmaster","abuse"],"local":"2026-03-01T09:08:07","none":[],` +
		`"ratio":0.5,"rule":[{"when":{"hour":"09:00:00"}},{}],"separator":"_","time":"09:08:07"}`
	if err != nil || string(got) != want {
		t.Errorf("SettingsJSON = %s, %v, want\n%s", got, err, want)
	}
	if got, err := config.SettingsJSON(nil); err != nil || string(got) != "{}" {
		t.Errorf("SettingsJSON of nothing = %s, %v, want {}", got, err)
	}
}

func TestSettingsJSONSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1\nb = \n":              "settings: line 2: ",
		"a = 1\na = 2\n":             "settings: line 2: ",
		"[x]\nlist = [1.0, -inf]\n":  "settings: x.list[1]: must be a finite number",
		"a = " + deepList:            "settings: keys, arrays or inline tables nest too deep",
		strings.Repeat("#\n", 1<<20): "settings: is larger than 1 MiB",
	} {
		if _, err := config.SettingsJSON([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("SettingsJSON(%.40q) = %v, want %s", text, err, want)
		}
	}
}

var deepList = strings.Repeat("[", 65) + strings.Repeat("]", 65)
