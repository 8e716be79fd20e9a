package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type testSettings struct {
	Word   string        `json:"word"`
	Count  int           `json:"count"`
	Wait   time.Duration `json:"wait"`
	List   []string      `json:"list"`
	Nested struct {
		On bool `json:"on"`
	} `json:"nested"`
	Tables []struct {
		Name string `json:"name"`
		On   *bool  `json:"on"`
		Deep []struct {
			N int `json:"n"`
		} `json:"deep"`
	} `json:"tables"`
	Bad bool `json:"-"`
}

func (s *testSettings) Validate() error {
	if s.Count < 0 {
		return FieldError{"count", "must not be negative"}
	}
	return nil
}

func TestSettings(t *testing.T) {
	want := testSettings{Word: "w", Count: 2, Wait: time.Minute, List: []string{"a"}}
	want.Nested.On = true
	for _, tc := range []struct {
		json string
		want string
	}{
		{``, ""},
		{`{}`, ""},
		{`{"word":"w","count":2,"wait":"1m","list":["a"],"nested":{"on":true}}`, ""},
		{`[]`, "must be a table, not a list"},
		{`{"word":1,"count":"x","wait":5,"list":"a","nested":{"on":1,"off":2}}`,
			"count: must be a whole number in range of int, not a string\n" +
				"list: must be a list (each a string), not a string\n" +
				"nested.off: unknown setting; there are on\n" +
				"nested.on: must be true or false, not the number 1\n" +
				"wait: must be a duration with a unit, such as \"10s\"\n" +
				"word: must be a string, not the number 1"},
		{`{"Word":"w","bad":true}`, "Word: unknown setting; there are count, list, nested, tables, wait, word\n" +
			"bad: unknown setting; there are count, list, nested, tables, wait, word"},
		{`{"tables":[{"name":"a","on":false,"deep":[{"n":1},{}]},{}]}`, ""},
		{`{"tables":{}}`, "tables: must be a list (each a table), not a table"},
		{`{"tables":[{"name":1},5,{"on":"x","deep":[{},{"m":1,"n":"x"}]}]}`,
			"tables[0].name: must be a string, not the number 1\n" +
				"tables[1]: must be a table, not the number 5\n" +
				"tables[2].deep[1].m: unknown setting; there are n\n" +
				"tables[2].deep[1].n: must be a whole number in range of int, not a string\n" +
				"tables[2].on: must be true or false, not a string"},
		{`{"count":-1}`, "count: must not be negative"},
	} {
		v := testSettings{Word: "default"}
		err := Setup{settings: []byte(tc.json)}.Settings(&v)
		if got := fmt.Sprint(err); got != tc.want && (err != nil || tc.want != "") {
			t.Errorf("Settings(%s) = %s, want %s", tc.json, got, tc.want)
		}
		switch {
		case strings.Contains(tc.json, `"wait":"1m"`) && err == nil:
			if diff := cmp.Diff(want, v, cmp.AllowUnexported(testSettings{})); diff != "" {
				t.Error(diff)
			}
		case err == nil && v.Word != "default":
			t.Errorf("Settings(%s) lost the default", tc.json)
		}
	}
}

func TestFieldErrorsAreFoundWhereverTheyAre(t *testing.T) {
	err := fmt.Errorf("settings: %w", errors.Join(FieldError{"a", "1"}, fmt.Errorf("b: %w", FieldError{"b", "2"}), errors.New("c")))
	var got []string
	for _, e := range fieldErrors(err) {
		got = append(got, e.Field+"="+e.Problem)
	}
	if diff := cmp.Diff([]string{"a=1", "b=2", "=c"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzSettings(f *testing.F) {
	for _, s := range []string{`{}`, `{"word":"w"}`, `{"nested":{"on":1}}`, `{"wait":"5"}`, `[`, `{"list":[1]}`, `{"nested":null}`, `null`, `{"":{}}`, `{"tables":[{"on":null},1]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v testSettings
		err := Setup{settings: data}.Settings(&v)
		if err == nil {
			return
		}
		for _, e := range fieldErrors(err) {
			if e.Problem == "" {
				t.Errorf("Settings(%q) = %v, a problem without words", data, err)
			}
		}
	})
}
