package sink

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// Stage is a point of the dialogue at which the sink can be told what to do.
type Stage string

// The stages, in the order of the dialogue.
const (
	Connect Stage = "connect" // before the banner
	Ehlo    Stage = "ehlo"    // EHLO or HELO
	Mail    Stage = "mail"
	Rcpt    Stage = "rcpt"
	Data    Stage = "data"    // DATA, or the first BDAT
	Content Stage = "content" // after the whole message has been read
)

var stages = []Stage{Connect, Ehlo, Mail, Rcpt, Data, Content}

// takesAddress reports whether a rule at the stage can be for one address only.
func (s Stage) takesAddress() bool { return s == Mail || s == Rcpt }

// takesPositive reports whether a reply that accepts can have a text of its own there. At
// the others it is the server's: banner, extensions, 354.
func (s Stage) takesPositive() bool { return s == Mail || s == Rcpt || s == Content }

// Rule is what to do at one stage.
type Rule struct {
	Stage Stage
	// Address is the one address that the rule is for; nil: all.
	Address *mail.Path
	Reply   reply.Reply   // Code 0: none
	Delay   time.Duration // before the reply
}

// Rules are what to do at each stage. Not to be changed once a Sink has them.
type Rules []Rule

// applies returns the rule at the stage that has what is wanted: one for the address goes
// before one for all, a later one before an earlier one.
func (r Rules) applies(at Stage, address mail.Path, wanted func(Rule) bool) (Rule, bool) {
	var found Rule
	ok := false
	for _, rule := range r {
		if rule.Stage != at || !wanted(rule) {
			continue
		}
		if rule.Address == nil && found.Address != nil || rule.Address != nil && !rule.Address.Equal(address) {
			continue
		}
		found, ok = rule, true
	}
	return found, ok
}

func (r Rules) reply(at Stage, address mail.Path) reply.Reply {
	rule, _ := r.applies(at, address, func(r Rule) bool { return r.Reply.Code != 0 })
	return rule.Reply
}

func (r Rules) delay(at Stage, address mail.Path) time.Duration {
	rule, _ := r.applies(at, address, func(r Rule) bool { return r.Delay > 0 })
	return rule.Delay
}

// at reports whether any rule is for the stage.
func (r Rules) at(s Stage) bool {
	for _, rule := range r {
		if rule.Stage == s {
			return true
		}
	}
	return false
}

// ParseReplies reads "stage=CODE[ text],…", where stage may be "rcpt:address" or
// "mail:address". A text goes up to the next ",stage=", so that it may have commas.
func ParseReplies(s string) (Rules, error) {
	return parseRules(s, func(rule *Rule, value string) (err error) {
		rule.Reply, err = parseReply(rule.Stage, value)
		return err
	})
}

// ParseDelays reads "stage=DURATION,…", with the stages of ParseReplies.
func ParseDelays(s string) (Rules, error) {
	return parseRules(s, func(rule *Rule, value string) (err error) {
		if rule.Delay, err = time.ParseDuration(value); err != nil || rule.Delay < 0 {
			return fmt.Errorf("%q: must be a duration such as 500ms or 5s", value)
		}
		return nil
	})
}

// ruleStart is where a rule begins. An address may have a comma only in a quoted local-part.
var ruleStart = regexp.MustCompile(`(?:^|,)\s*(connect|ehlo|mail|rcpt|data|content)((?::(?:"(?:\\.|[^"\\])*"|[^"=,])*)?)=`)

func parseRules(s string, value func(*Rule, string) error) (Rules, error) {
	starts := ruleStart.FindAllStringSubmatchIndex(s, -1)
	if len(starts) == 0 || starts[0][0] != 0 {
		return nil, fmt.Errorf("%q: must be stage=value, where stage is one of %s", s, stageNames())
	}
	var rules Rules
	for i, at := range starts {
		end := len(s)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		rule := Rule{Stage: Stage(s[at[2]:at[3]])}
		if address := s[at[4]:at[5]]; address != "" {
			if err := rule.setAddress(address[1:]); err != nil {
				return nil, err
			}
		}
		if err := value(&rule, s[at[1]:end]); err != nil {
			return nil, fmt.Errorf("%s: %w", rule.Stage, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func (r *Rule) setAddress(s string) error {
	if !r.Stage.takesAddress() {
		return fmt.Errorf("%s:%s: only mail and rcpt can be for one address", r.Stage, s)
	}
	p, err := mail.ParseMailbox(strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">"), true)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Stage, err)
	}
	r.Address = &p
	return nil
}

func stageNames() string {
	names := make([]string, len(stages))
	for i, s := range stages {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

var enhancedCode = regexp.MustCompile(`^([245])\.(\d{1,3})\.(\d{1,3})(?: |$)`)

// parseReply reads "CODE[ text]". What is given as text is sent as it is: an enhanced code
// only where there is one.
func parseReply(at Stage, s string) (reply.Reply, error) {
	word, text, _ := strings.Cut(s, " ")
	code, err := strconv.Atoi(word)
	positive := code >= 250 && code <= 259
	if err != nil || len(word) != 3 || !positive && (code < 400 || code > 599) {
		return reply.Reply{}, fmt.Errorf("reply %q: must begin with a code such as 250, 451 or 550", s)
	}
	if positive && !at.takesPositive() {
		return reply.Reply{}, fmt.Errorf("reply %q: here it can only be 4yz or 5yz", s)
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return reply.Reply{}, fmt.Errorf("reply %q: control character in the text", s)
		}
	}
	if text == "" {
		if positive {
			return reply.New(code, reply.Enhanced{}, "ok"), nil
		}
		return reply.New(code, reply.Enhanced{}, "the sink was told to refuse this"), nil
	}
	m := enhancedCode.FindStringSubmatch(text)
	if m == nil {
		return reply.New(code, reply.None, text), nil
	}
	if m[1][0] != word[0] {
		return reply.Reply{}, fmt.Errorf("reply %q: an enhanced code of %s must begin with %c", s, word, word[0])
	}
	subject, _ := strconv.Atoi(m[2]) // digits, by the expression
	detail, _ := strconv.Atoi(m[3])
	return reply.New(code, reply.Enhanced{Subject: subject, Detail: detail}, text[len(m[0]):]), nil
}
