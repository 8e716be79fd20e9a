package smtpserver

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.org/relay/relay/mail"
)

// model is a second opinion on a session, without go-smtp, buffers or pieces: it has all that the client sent and all
// that the server said, walks through both octet by octet, and says which replies cannot be and what
// must have been delivered. What an agent or a Transaction may refuse, it takes from the reply.
type model struct {
	in      []byte // what the client sent and the model has not passed yet
	replies []modelReply
	closed  bool // the server closed before the client did
	limits  Limits
	moody   bool // agents refuse as they like

	hello, esmtp bool
	mailing      bool
	from         string   // of the transaction, as fakeTransaction prints it
	to           []string // likewise
	utf8         bool
	mustReset    bool
	chunks       []byte // of a message in chunks so far
	chunking     bool

	delivered []string // as fakeTransaction keeps it
	problem   string
}

type modelReply struct {
	code int
	text string
}

// code form of a reply line: RFC 5321 §4.2, RFC 2034 §4.
var replyLine = regexp.MustCompile(`^([2-5][0-5][0-9])([ -])(.*)$`)

// readReplies reads what the server said, and says what is wrong with its form.
func readReplies(said string) (all []modelReply, problem string) {
	more := false
	for line := range strings.SplitAfterSeq(said, "\r\n") {
		if line == "" {
			break
		}
		m := replyLine.FindStringSubmatch(strings.TrimSuffix(line, "\r\n"))
		if m == nil || !strings.HasSuffix(line, "\r\n") || len(line) > 512 || strings.ContainsFunc(m[3], func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
			return nil, fmt.Sprintf("server says %q", line)
		}
		code, _ := strconv.Atoi(m[1])
		last := len(all) - 1
		if more && all[last].code != code {
			return nil, fmt.Sprintf("server says %q after %d-", line, all[last].code)
		}
		enhanced := regexp.MustCompile(`^` + m[1][:1] + `\.[0-9]{1,3}\.[0-9]{1,3} `).MatchString(m[3])
		if greeting := code == 220 || code == 354 || code == 250 && (more || m[2] == "-" || m[3] == "mx.example.org"); enhanced == greeting {
			return nil, fmt.Sprintf("enhanced status code in %q: %v", line, enhanced)
		}
		if more {
			all[last].text += "\n" + m[3]
		} else {
			all = append(all, modelReply{code, m[3]})
		}
		more = m[2] == "-"
	}
	if more {
		problem = "the last reply has no end"
	}
	return all, problem
}

func (m *model) fail(format string, args ...any) {
	if m.problem == "" {
		m.problem = fmt.Sprintf(format, args...)
	}
}

// reply takes the next reply. Without one the server must have closed.
func (m *model) reply(to string) (r modelReply, ok bool) {
	if len(m.replies) == 0 {
		if !m.closed {
			m.fail("no reply to %.80q, and no close", to)
		}
		return r, false
	}
	r, m.replies = m.replies[0], m.replies[1:]
	return r, r.code != 421
}

// run walks through the session.
func (m *model) run() {
	r, ok := m.reply("the connection")
	for ok && r.code == 220 && m.step() {
	}
	if len(m.replies) == 1 && m.replies[0].code == 421 && m.closed {
		m.replies = nil // its own reply came before: one error too many
	}
	if len(m.replies) > 0 {
		m.fail("replies to nothing: %v", m.replies)
	}
}

// step takes one command and what belongs to it. False: the session, or what the client sent, is over.
func (m *model) step() bool {
	i := bytes.IndexByte(m.in, '\n')
	if i < 0 {
		if len(m.in) > maxLine {
			m.replies = nil // as it likes
		}
		return false
	}
	line := string(m.in[:i+1])
	m.in = m.in[i+1:]
	body, crlf := strings.CutSuffix(line, "\r\n")
	verb, arg, _ := strings.Cut(body, " ")
	verb, arg = strings.ToUpper(verb), strings.Trim(arg, " \t")
	if !crlf || strings.Contains(body, "\r") || len(line) > maxLine {
		verb = "" // no command, whatever it looks like
	}
	if verb == "BDAT" {
		return m.bdat(arg)
	}
	r, ok := m.reply(line)
	if !ok {
		return false
	}
	return m.command(verb, arg, r)
}

func (m *model) command(verb, arg string, r modelReply) bool {
	good := r.code < 400
	if m.chunking && !slices.Contains([]string{"RSET", "EHLO", "HELO", "QUIT", "NOOP", "HELP", "VRFY"}, verb) && good {
		m.fail("%s between chunks: %v", verb, r)
	}
	switch verb {
	case "EHLO", "HELO":
		if good {
			m.forget()
			m.hello, m.esmtp = true, verb == "EHLO"
		}
		if good && arg == "" {
			m.fail("%s without a name: %v", verb, r)
		}
	case "RSET":
		if good {
			m.forget()
		}
		if good != (arg == "") && !m.moody {
			m.fail("RSET %q: %v", arg, r)
		}
	case "MAIL":
		m.mail(arg, r)
	case "RCPT":
		m.rcpt(arg, r)
	case "DATA":
		return m.data(arg, r)
	case "QUIT":
		if good != (arg == "") {
			m.fail("QUIT %q: %v", arg, r)
		}
		return !good
	case "NOOP", "HELP", "VRFY":
	default:
		if good {
			m.fail("%q is no command, and gets %v", verb, r)
		}
	}
	return true
}

func (m *model) forget() {
	m.mailing, m.from, m.to, m.utf8, m.mustReset, m.chunks, m.chunking = false, "", nil, false, false, nil, false
}

// asKept is what a path with its parameters must be kept as.
func asKept(arg, prefix string) (string, mail.Params) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "?", nil
	}
	path, rest, err := mail.ParsePath(strings.TrimLeft(arg[len(prefix):], " "), true)
	params, perr := mail.ParseParams(rest)
	if err != nil || perr != nil {
		return "?", nil
	}
	if again, err := mail.ParseMailbox(path.String(), true); err != nil || again != path {
		return "?", nil
	}
	return path.Wire() + params.String(), params
}

func (m *model) mail(arg string, r modelReply) {
	possible := m.hello && !m.mailing && !m.mustReset && !m.chunking
	switch {
	case r.code == 250 && !possible, !possible && r.code != 503:
		m.fail("MAIL out of order: %v", r)
	case r.code == 250:
		var params mail.Params
		m.mailing = true
		m.from, params = asKept(arg, "FROM:")
		_, m.utf8 = params.Get("SMTPUTF8")
		if m.from == "?" || len(params) > 0 && !m.esmtp {
			m.fail("MAIL %s: %v", arg, r)
		}
	case possible && arg == "FROM:<a@example.net>" && !m.moody:
		m.fail("good MAIL: %v", r)
	}
}

func (m *model) rcpt(arg string, r modelReply) {
	possible := m.mailing && !m.chunking
	switch {
	case r.code == 250 && (!possible || len(m.to) >= m.limits.Recipients), !possible && r.code != 503:
		m.fail("RCPT out of order: %v", r)
	case r.code == 250:
		to, params := asKept(arg, "TO:")
		m.to = append(m.to, to)
		if to == "?" || len(params) > 0 && !m.esmtp {
			m.fail("RCPT %s: %v", arg, r)
		}
	case possible && arg == "TO:<b@example.org>" && !m.moody && len(m.to) < m.limits.Recipients:
		m.fail("good RCPT: %v", r)
	}
}

func (m *model) data(arg string, r modelReply) bool {
	possible := m.mailing && len(m.to) > 0 && !m.chunking && arg == ""
	if r.code != 354 {
		if possible && !m.moody {
			m.fail("good DATA: %v", r)
		}
		if possible {
			m.forget()
		}
		if r.code < 400 {
			m.fail("DATA: %v", r)
		}
		return true
	}
	if !possible {
		m.fail("DATA out of order: %v", r)
	}
	content, end, _ := dumbDots(m.in)
	if !end {
		m.unfinished()
		return false
	}
	at := bytes.Index(append([]byte("\r\n"), m.in...), []byte("\r\n.\r\n")) // as nobody can read it otherwise
	m.in = m.in[at+3:]
	if r, ok := m.reply("the message"); ok {
		m.message(content, r, true)
		m.forget()
		return true
	}
	return false
}

// unfinished: the client has not sent all of a message, so that the server can only give up on it.
func (m *model) unfinished() {
	if len(m.replies) > 0 && (m.replies[0].code < 400 || !m.closed) {
		m.fail("reply to half a message: %v", m.replies[0])
	}
	m.replies = nil
}

func (m *model) bdat(arg string) bool {
	words := strings.Fields(arg)
	last := len(words) == 2 && strings.EqualFold(words[1], "LAST")
	size, err := int64(0), error(nil)
	if len(words) == 1 || last {
		size, err = strconv.ParseInt(words[0], 10, 64)
	}
	if err != nil || len(words) != 1 && !last || strings.Trim(words[0], "0123456789") != "" {
		if r, ok := m.reply("BDAT"); ok && r.code != 501 {
			m.fail("BDAT %q: %v", arg, r)
		}
		return false
	}
	if size > int64(len(m.in)) {
		m.unfinished()
		return false
	}
	chunk := m.in[:size]
	m.in = m.in[size:]
	r, ok := m.reply("BDAT")
	if !ok {
		return false
	}
	if !m.chunking && (!m.esmtp || !m.mailing || len(m.to) == 0 || m.mustReset) {
		if r.code != 503 && r.code != 554 {
			m.fail("BDAT out of order: %v", r)
		}
		return true
	}
	m.chunks, m.chunking = append(m.chunks, chunk...), true
	if r.code < 400 && !last {
		return true
	}
	if last && r.code < 400 && !m.limits.RepairLineEnds && len(m.chunks) > 0 && m.chunks[len(m.chunks)-1] != '\n' {
		m.fail("the last line has no end: %v", r)
	}
	m.message(m.chunks, r, last)
	m.forget()
	m.mustReset = !last
	return true
}

// message judges the reply to a message, or to a part of it that was refused.
func (m *model) message(content []byte, r modelReply, whole bool) {
	refusable := m.refusable(content, whole)
	repaired := content
	if m.limits.RepairLineEnds {
		repaired = dumbRepair(content)
	}
	head, _ := modelHeader(repaired)
	early := bytes.Contains(bytes.ToUpper(repaired[:head]), []byte("X-EARLY"))
	switch {
	case r.code >= 400:
		if refusable == "" && !m.moody && !early {
			m.fail("%q is a good message: %v", content, r)
		}
	case refusable != "":
		m.fail("%q has %s: %v", content, refusable, r)
	case r.text == "2.6.0 kept":
		kept := string(repaired[:head]) + "|" + string(repaired[head:])
		m.delivered = append(m.delivered, m.from+" "+strings.Join(m.to, " ")+" "+strconv.Quote(kept))
	case !early:
		m.fail("a good message was dropped: %v", r)
	}
}

// refusable says why a message must be refused, "" where it must not.
func (m *model) refusable(content []byte, whole bool) string {
	if bytes.IndexByte(content, 0) >= 0 {
		return "NUL"
	}
	if m.limits.RepairLineEnds {
		content = dumbRepair(content)
	} else if rest := bytes.ReplaceAll(content, []byte("\r\n"), nil); bytes.ContainsAny(bytes.TrimSuffix(rest, []byte("\r")), "\r\n") ||
		whole && len(content) > 0 && !bytes.HasSuffix(content, []byte("\r\n")) || !whole && bytes.ContainsAny(rest, "\n") {
		return "bad line ends"
	}
	head, fields := modelHeader(content)
	switch {
	case int64(len(content)) > m.limits.MessageSize:
		return "too many octets"
	case head > m.limits.HeaderSize:
		return "too big a header section"
	case fields > m.limits.HeaderFields:
		return "too many fields"
	case m.utf8 && !utf8.Valid(content[:head]):
		return "a header section that is not UTF-8"
	}
	return ""
}

// modelHeader is how long the header section is, and how many fields it has.
func modelHeader(content []byte) (size, fields int) {
	for line := range bytes.SplitAfterSeq(content, []byte("\r\n")) {
		if len(line) == 0 || bytes.Equal(line, []byte("\r\n")) {
			break
		}
		if size == 0 || line[0] != ' ' && line[0] != '\t' {
			fields++
		}
		size += len(line)
	}
	return size, fields
}
