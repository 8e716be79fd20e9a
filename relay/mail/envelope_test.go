package mail_test

import (
	"slices"
	"testing"

	"example.org/relay/relay/mail"
)

func path(local string) mail.Path { return mail.Path{Local: local, Domain: "example.org"} }

// ids are those of the recipients, in order.
func ids(e *mail.Envelope) []uint32 {
	var all []uint32
	for _, r := range e.Recipients {
		all = append(all, r.ID)
	}
	return all
}

func TestEnvelopeRecipients(t *testing.T) {
	var e mail.Envelope
	params := mail.Params{{Keyword: "NOTIFY", Value: "NEVER", HasValue: true}}
	for _, name := range []string{"a", "b", "c"} {
		e.Add(mail.Recipient{Path: path(name), Original: path(name), Params: params})
	}
	if got := ids(&e); !slices.Equal(got, []uint32{1, 2, 3}) || e.Revision != 3 {
		t.Fatalf("IDs %v, revision %d", got, e.Revision)
	}
	clone := e.Clone()

	if !e.Replace(2, []mail.Path{path("x"), path("y")}) || e.Revision != 4 {
		t.Errorf("Replace: revision %d", e.Revision)
	}
	if got := ids(&e); !slices.Equal(got, []uint32{1, 4, 5, 3}) {
		t.Errorf("IDs %v after Replace", got)
	}
	if r := e.Recipients[2]; r.Path != path("y") || r.Original != path("b") || len(r.Params) != 1 {
		t.Errorf("what came in the place of b: %+v", r)
	}
	if e.Replace(2, nil) || e.Remove(2) || e.Index(2) != -1 || e.Revision != 4 {
		t.Errorf("a recipient that is gone was found; revision %d", e.Revision)
	}
	if !e.Remove(1) || !e.Replace(3, nil) || e.Revision != 6 {
		t.Errorf("Remove: revision %d", e.Revision)
	}
	if r := e.Add(mail.Recipient{Path: path("z")}); r.ID != 6 {
		t.Errorf("an ID was given out twice: %d", r.ID)
	}
	e.SetFrom(path("sender"))
	if e.From != path("sender") || e.Revision != 8 {
		t.Errorf("From %v, revision %d", e.From, e.Revision)
	}

	if got := ids(clone); !slices.Equal(got, []uint32{1, 2, 3}) || clone.Recipients[1].Path != path("b") {
		t.Errorf("edits show in the copy: %v", got)
	}
}
