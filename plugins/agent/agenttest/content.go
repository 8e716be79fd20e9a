package agenttest

import (
	"os"
	"path/filepath"

	agentv1 "example.org/relay/proto/agent/v1"
)

// spoolStart stands in a spool file before the body, as a header section would.
const spoolStart = "Subject: in the queue\r\n\r\n"

// content is the body as the agent is shown it.
func (c *Conn) content(want agentv1.Subscription_Content) *agentv1.ContentRef {
	m := c.message
	ref := &agentv1.ContentRef{BodySize: uint64(len(m.body)), Revision: m.revision}
	switch {
	case c.h.config.Bodies == Spooled:
		ref.Where = &agentv1.ContentRef_File{File: &agentv1.FileRef{Path: c.spool(), Offset: uint64(len(spoolStart))}}
	case c.h.config.Bodies == Inline && want == agentv1.Subscription_CONTENT_FULL && len(m.body) <= agentv1.InlineContentBytes:
		ref.Where = &agentv1.ContentRef_Inline{Inline: []byte(m.body)}
	default:
		ref.Where = &agentv1.ContentRef_OnDemand{OnDemand: true}
	}
	return ref
}

func (c *Conn) spool() string {
	c.h.t.Helper()
	name := filepath.Join(c.h.t.TempDir(), "message")
	if err := os.WriteFile(name, []byte(spoolStart+c.message.body), 0o400); err != nil {
		c.h.t.Fatalf("agenttest: spool file: %v", err)
	}
	return name
}

// serve answers a read of the body.
func (c *Conn) serve(r *agentv1.ReadContent) {
	c.h.t.Helper()
	if c.message == nil || c.h.config.OldRelay || !c.h.may(agentv1.Permission_PERMISSION_READ_BODY) {
		c.h.t.Fatalf("agenttest: the agent reads a body that it was not shown")
	}
	body := c.message.body
	start := min(r.Offset, uint64(len(body)))
	end := uint64(len(body))
	if r.Length > 0 {
		end = min(end, start+r.Length)
	}
	size := uint64(c.h.config.ChunkSize)
	if size == 0 {
		size = agentv1.InlineContentBytes
	}
	for last := false; !last; {
		n := min(size, end-start)
		last = start+n == end
		c.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_Content{Content: &agentv1.ContentChunk{
			Offset: start, Data: []byte(body[start : start+n]), Last: last,
		}}})
		start += n
	}
}

// upload is a body or message that the agent is sending.
type upload struct {
	data []byte
	last bool
}

func (c *Conn) take(u *agentv1.UploadChunk) {
	c.h.t.Helper()
	if c.h.config.OldRelay {
		c.h.t.Fatalf("agenttest: an upload to a relay that takes none")
	}
	if c.uploads == nil {
		c.uploads = make(map[uint32]*upload)
	}
	up := c.uploads[u.UploadId]
	if up == nil {
		up = &upload{}
		c.uploads[u.UploadId] = up
	}
	if up.last {
		c.h.t.Fatalf("agenttest: upload %d goes on after its end", u.UploadId)
	}
	up.data, up.last = append(up.data, u.Data...), u.Last
}

// source returns the bytes that an edit names.
func (c *Conn) source(s *agentv1.ContentSource) (data, problem string) {
	switch from := s.GetFrom().(type) {
	case *agentv1.ContentSource_Inline:
		if len(from.Inline) > agentv1.InlineContentBytes {
			return "", "inline content larger than the limit"
		}
		return string(from.Inline), ""
	case *agentv1.ContentSource_UploadId:
		if up := c.uploads[from.UploadId]; up != nil && up.last {
			return string(up.data), ""
		}
		return "", "an upload that has not ended"
	}
	return "", "a source of content that was not agreed on"
}
