package mail

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.org/relay/relay/reply"
)

// maxSetValue bounds a value whose own rule does not: a command line must hold it.
const maxSetValue = 500

// everything is offered to whoever sets a parameter: what the next server lacks is left away, or
// refused, when the message goes there.
var everything = Extensions{DSN: true, Auth: true}

// SetMailParams returns the parameters of MAIL with those of set in their place, RET, ENVID and AUTH;
// one without a value is taken out. The others say what the message is, and cannot be made untrue. utf8:
// the message may go beyond ASCII. p itself is not changed.
func SetMailParams(p, set Params, utf8 bool) (Params, error) {
	return setParams(p, set, "MAIL", []string{"RET", "ENVID", "AUTH"}, mailRules, utf8)
}

// SetRcptParams does the same for those of RCPT, NOTIFY and ORCPT.
func SetRcptParams(p, set Params, utf8 bool) (Params, error) {
	return setParams(p, set, "RCPT", []string{"NOTIFY", "ORCPT"}, rcptRules, utf8)
}

func setParams(p, set Params, command string, settable []string, rules map[string]paramRule, utf8 bool) (Params, error) {
	p = slices.Clone(p)
	for _, s := range set {
		s.Keyword = strings.ToUpper(s.Keyword)
		rule, known := rules[s.Keyword]
		switch {
		case known && !slices.Contains(settable, s.Keyword):
			return nil, fmt.Errorf("parameter %s of %s says what the message is, and cannot be set; %s can", s.Keyword, command, strings.Join(settable, ", "))
		case !known:
			return nil, fmt.Errorf("parameter %.80q of %s: only %s can be set", s.Keyword, command, strings.Join(settable, ", "))
		case s.Value == "":
			p = slices.DeleteFunc(p, func(old Param) bool { return old.Keyword == s.Keyword })
			continue
		case len(s.Value) > maxSetValue:
			return nil, fmt.Errorf("parameter %s: %d characters, at most %d are taken", s.Keyword, len(s.Value), maxSetValue)
		}
		s.HasValue = true
		if err := judge(s, rule, known, everything, utf8); err != nil {
			var e *reply.Error
			if errors.As(err, &e) {
				err = errors.New(e.Reply.Text())
			}
			return nil, fmt.Errorf("parameter %s=%.80q: %w", s.Keyword, s.Value, err)
		}
		if i := slices.IndexFunc(p, func(old Param) bool { return old.Keyword == s.Keyword }); i >= 0 {
			p[i] = s
		} else {
			p = append(p, s)
		}
	}
	return p, nil
}
