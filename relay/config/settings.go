package config

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// SettingsJSON turns an agent's settings file, TOML of at most 1 MiB, into the JSON that
// the agent is given. Whole numbers stay whole; dates and times become texts as they were
// written (RFC 3339).
func SettingsJSON(settings []byte) ([]byte, error) {
	table, err := parseTOML(settings)
	if err != nil {
		return nil, fmt.Errorf("settings: %s", syntaxProblem("settings", err).short())
	}
	v, err := plain("", table)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return data, nil
}

// short prints the problem without its file.
func (p Problem) short() string {
	if p.Line > 0 {
		return fmt.Sprintf("line %d: %s", p.Line, p.Text)
	}
	return p.Text
}

// plain replaces what JSON does not have.
func plain(at string, in any) (any, error) {
	switch v := in.(type) {
	case map[string]any:
		for key := range v {
			var err error
			if v[key], err = plain(join(at, key), v[key]); err != nil {
				return nil, err
			}
		}
		return v, nil
	case []map[string]any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = v[i]
		}
		return plain(at, all)
	case []any:
		for i := range v {
			var err error
			if v[i], err = plain(index(at, i), v[i]); err != nil {
				return nil, err
			}
		}
		return v, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s: must be a finite number", at)
		}
		return v, nil
	case time.Time:
		return v.Format(timeLayout(v)), nil
	}
	return in, nil
}

// timeLayout tells the four kinds of TOML's dates and times apart, which the parser does
// by the name of the location.
func timeLayout(t time.Time) string {
	switch t.Location().String() {
	case "datetime-local":
		return "2006-01-02T15:04:05.999999999"
	case "date-local":
		return time.DateOnly
	case "time-local":
		return "15:04:05.999999999"
	}
	return time.RFC3339Nano
}
