package smtpserver

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
)

const fuzzTx = "EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\n"

// FuzzSession: whatever comes from a client, in whatever pieces, with line ends repaired or not, limits small or large, agents
// that refuse as they like: the server never panics, it answers each command or closes, and it delivers what the model
// says, no more and no less.
func FuzzSession(f *testing.F) {
	for i, s := range []string{
		"", "QUIT\r\n", "\r\n", "EHLO\r\n", fuzzTx, fuzzTx + "DATA\r\nx: y\r\n\r\nbody\r\n.\r\n", fuzzTx + "DATA\r\nx\r\n.\r\n" + fuzzTx + "DATA\r\n.\r\nQUIT\r\n",
		fuzzTx + "BDAT 4\r\nabc\nBDAT 0 LAST\r\n", fuzzTx + "BDAT 3 LAST\r\na\r\nRSET\r\n", fuzzTx + "BDAT 100 LAST\r\nabc", fuzzTx + "DATA\r\nx\n.\nMAIL FROM:<>\r\n.\r\n",
		"STARTTLS\r\n", "NOOP\nNOOP\r\n", "MAIL FROM:<\"a\\\"> \"@x> SIZE=1 BODY=7BIT\r\n", fuzzTx + "RSET\r\nHELP\r\nVRFY x\r\nHELO x\r\n",
		fuzzTx + "BDAT 2\r\nabRSET\r\n" + fuzzTx + "BDAT 2\r\nabQUIT\r\n", fuzzTx + "DATA\r\nX-Early: 550-5.7.1\r\n\r\nx\r\n.\r\nNOOP\r\n",
		fuzzTx + "DATA\r\na: b\r\rc: d\n\n.\n.\r\n\r\n.\r\nNOOP\r\n", fuzzTx + "BDAT 5\r\na: b\rBDAT 3 LAST\r\n\nx\rBDAT 0 LAST\r\n",
		"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nBDAT 6 LAST\r\nQUIT\r\nDATA\r\n" + strings.Repeat("x", 70) + "\r\n.\r\nQUIT\r\n",
		"EHLO c\r\nMAIL FROM:<a@example.net> SMTPUTF8\r\nRCPT TO:<\xc3\xbc@example.org>\r\nDATA\r\nx: \xff\r\n.\r\n",
		fuzzTx + "RCPT TO:<c@example.org>\r\nRCPT TO:<d@example.org>\r\nDATA\r\na: 34567890123456789012345678901\r\n\r\n.\r\n",
		fuzzTx + "BDAT 3\r\na\nbMAIL FROM:<a@example.net>\r\nRSET\r\nMAIL FROM:<a@example.net>\r\n",
		fuzzTx + "DATA\r\na: 34567890123456789012345678901\r\n\r\n.\r\n", fuzzTx + "DATA\r\na: 3456789012345678901234567890\r\n\r\n.\r\n",
		fuzzTx + "DATA\r\na: 345678901234567890123456789\r\n\r\n.\r\n",
	} {
		f.Add([]byte(s), []byte{0}, uint16(knobSmall))
		f.Add([]byte(s), []byte{255}, uint16(i))
		f.Add([]byte(s), []byte{0}, uint16(i*256+4))
		f.Add([]byte(s), []byte{2, 0, 7}, uint16(i^3))
	}
	f.Fuzz(func(t *testing.T, octets, pieces []byte, knobs uint16) {
		synctest.Test(t, func(t *testing.T) { fuzzSession(t, octets, pieces, knobs) })
	})
}

// FuzzCommands: sessions of commands that are nearly right, which go deeper than those of octets: each of choices picks a
// command, and text is cut into what it is given.
func FuzzCommands(f *testing.F) {
	f.Add([]byte{0, 2, 4, 6, 7, 6}, "c\na@example.net\nb@example.org", []byte{255}, uint16(0))
	f.Add([]byte{0, 2, 4, 7, 9, 8, 7, 2, 4, 10}, "c\na@example.net\nb@example.org\nx: y\n1", []byte{9}, uint16(0))
	f.Add([]byte{0, 1, 3, 5, 6, 11, 12, 13, 14, 15}, "SIZE=1\n\"a b\"@example.org\nNOTIFY=NEVER", []byte{3}, uint16(260))
	f.Add([]byte{1, 2, 4, 4, 4, 6, 2, 4, 9, 9, 9}, "c\na@example.net\nb@example.org\npostmaster\nx@y", []byte{30}, uint16(3))
	f.Fuzz(func(t *testing.T, choices []byte, text string, pieces []byte, knobs uint16) {
		words := strings.Split(strings.ReplaceAll(text, "\r", ""), "\n")
		var octets []byte
		for i, c := range choices[:min(len(choices), 40)] {
			word := words[i%len(words)]
			octets = append(octets, []string{
				"EHLO " + word + "\r\n", "HELO " + word + "\r\n",
				"MAIL FROM:<a@example.net>\r\n", "MAIL FROM:<" + word + ">\r\n",
				"RCPT TO:<b@example.org>\r\n", "RCPT TO:<" + word + ">\r\n",
				"DATA\r\nx: " + word + "\r\n\r\nbody\r\n.\r\n",
				fmt.Sprintf("BDAT %d\r\n%s\r\n", len(word)+2, word), fmt.Sprintf("BDAT %d LAST\r\n%s\r\n", len(word)+2, word),
				"BDAT 0 LAST\r\n", "RSET\r\n", "MAIL FROM:<a@example.net> " + word + "\r\n", "RCPT TO:<b@example.org> " + word + "\r\n",
				"NOOP " + word + "\r\n", "VRFY " + word + "\r\n", word + "\r\n",
				"DATA\r\n" + word + "\r\n.\r\n", "BDAT " + word + "\r\n", "RSET " + word + "\r\n", "QUIT " + word + "\r\n",
			}[int(c)%20]...)
		}
		synctest.Test(t, func(t *testing.T) { fuzzSession(t, octets, pieces, knobs) })
	})
}

// What the bits of knobs turn on; the upper octet is the agents' mood.
const (
	knobRepair = 1 << iota
	knobSmall
	knobMoody
	knobPoorHop
)

func fuzzPlayer(t *testing.T, knobs uint16) *player {
	p := newPlayer(t)
	p.cfg.Limits = Limits{RepairLineEnds: knobs&knobRepair != 0}
	if knobs&knobSmall != 0 {
		p.cfg.Limits.MessageSize, p.cfg.Limits.HeaderSize, p.cfg.Limits.HeaderFields = 64, 32, 2
		p.cfg.Limits.Recipients, p.cfg.Limits.Errors, p.cfg.Limits.UnknownCommands = 2, 6, 4
	}
	p.cfg.Limits = p.cfg.Limits.withDefaults()
	if knobs&knobPoorHop != 0 {
		p.backend.ext = mail.Extensions{}
	}
	if knobs&knobMoody != 0 {
		p.binding.Agent = &moodyAgent{state: uint32(knobs>>8) + 1}
		for _, k := range []event.Kind{
			event.Connect, event.HeloCommand, event.EhloCommand, event.NoopCommand, event.HelpCommand, event.RsetCommand, event.DataCommand, event.Reject,
		} {
			p.binding.Subscriptions = append(p.binding.Subscriptions, event.Subscription{Kind: k})
		}
	}
	return p
}

// moodyAgent refuses some of what it is asked.
type moodyAgent struct{ state uint32 }

func (a *moodyAgent) Open(string) pipeline.Conversation                       { return a }
func (a *moodyAgent) Fault(string, event.Kind, error)                         {}
func (a *moodyAgent) Notify([]event.Event, *event.State)                      {}
func (a *moodyAgent) End([]event.Event, *event.State, event.DisconnectReason) {}
func (a *moodyAgent) Decide(_ context.Context, events []event.Event, _ *event.State, _ time.Duration) (event.Verdict, error) {
	last := events[len(events)-1]
	v := event.Verdict{Seq: last.Seq}
	a.state = a.state*1664525 + 1013904223
	switch mood := a.state >> 24 % 16; {
	case mood == 0:
		v.Action = event.Hangup
	case mood == 1 && last.Kind != event.Reject:
		v.Action = event.RejectIt
	case mood == 2 && last.Kind != event.Reject:
		v.Action = event.TempFail
	}
	return v, nil
}

// talk sends octets in pieces and closes. It returns what was said, delivered, and whether the server closed first.
func (p *player) talk(octets, pieces []byte) (said string, delivered []string, closed bool) {
	log := new(lockedBuffer)
	p.cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	p.start()
	for i := 0; len(octets) > 0; i++ {
		n := len(octets)
		if len(pieces) > 0 {
			n = min(n, int(pieces[i%len(pieces)])+1)
		}
		_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := p.conn.Write(octets[:n]); err != nil {
			break
		}
		octets = octets[n:]
	}
	synctest.Wait()
	p.mu.Lock()
	said, closed = string(p.got), p.closed
	p.mu.Unlock()
	_ = p.conn.Close()
	synctest.Wait()
	if n := len(p.server.gates); n > 0 {
		p.t.Errorf("%d sessions left", n)
	}
	if strings.Contains(log.String(), "panic") {
		p.t.Error(log.String())
	}
	p.mu.Lock()
	if more := string(p.got[len(said):]); more != "" {
		p.t.Errorf("server also said %q to a client that is gone", more)
	}
	p.mu.Unlock()
	_ = p.server.Close()
	<-p.served
	return said, p.backend.take(), closed
}

func fuzzSession(t *testing.T, octets, pieces []byte, knobs uint16) {
	p := fuzzPlayer(t, knobs)
	said, delivered, closed := p.talk(octets, pieces)
	replies, problem := readReplies(said)
	if problem != "" {
		t.Fatal(problem)
	}
	m := model{in: octets, replies: replies, closed: closed, limits: p.cfg.Limits, moody: knobs&knobMoody != 0}
	m.run()
	if m.problem == "" && !slices.Equal(m.delivered, delivered) {
		m.fail("delivered\n%s\nwant\n%s", strings.Join(delivered, "\n"), strings.Join(m.delivered, "\n"))
	}
	if m.problem != "" {
		t.Fatalf("%s\nclient: %q\nserver: %q (closed: %v)", m.problem, octets, said, closed)
	}
}

// FuzzChunks: one message in any chunks, sent in any pieces, is that message; cut short anywhere, it is none.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{"", "x: y\r\n\r\nbody\r\n", "x: y\r\n.\r\n..\r\n", "a\rb\nc\r\n", "\r\n\r\n", "x", "BDAT 0 LAST\r\n", "\x00\r\n"} {
		f.Add([]byte(s), []byte{0}, []byte{255}, uint16(9999), false)
		f.Add([]byte(s), []byte{1, 3}, []byte{0}, uint16(60), true)
	}
	f.Fuzz(func(t *testing.T, message, chunks, pieces []byte, cut uint16, repair bool) {
		stream := []byte(fuzzTx)
		for i, rest := 0, message; ; i++ {
			n := len(rest)
			if i < len(chunks) {
				n = min(n, int(chunks[i]))
			}
			last := n == len(rest) && i >= len(chunks)
			stream = append(stream, "BDAT "+strconv.Itoa(n)...)
			if last {
				stream = append(stream, " LAST"...)
			}
			stream = append(append(stream, "\r\n"...), rest[:n]...)
			if rest = rest[n:]; last {
				break
			}
		}
		whole := int(cut) >= len(stream)
		stream = stream[:min(int(cut), len(stream))]
		synctest.Test(t, func(t *testing.T) {
			knobs := uint16(0)
			want := message
			if repair {
				knobs, want = knobRepair, dumbRepair(message)
			}
			p := fuzzPlayer(t, knobs)
			_, delivered, _ := p.talk(stream, pieces)
			bad := bytes.IndexByte(message, 0) >= 0 || !bytes.Equal(dumbRepair(message), message) && !repair || bytes.Contains(bytes.ToUpper(message), []byte("X-EARLY"))
			if !whole || bad {
				if len(delivered) > 0 && !bytes.Contains(bytes.ToUpper(message), []byte("X-EARLY")) {
					t.Fatalf("delivered %s of %q", delivered, stream)
				}
				return
			}
			head, _ := modelHeader(want)
			kept := strconv.Quote(string(want[:head]) + "|" + string(want[head:]))
			if len(delivered) != 1 || !strings.HasSuffix(delivered[0], " <b@example.org> "+kept) {
				t.Fatalf("delivered %s, want one %s, of %q", delivered, kept, stream)
			}
		})
	})
}
