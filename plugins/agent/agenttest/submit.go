package agenttest

import (
	"fmt"
	"slices"
	"strings"

	"example.org/relay/plugins/agent"
	agentv1 "example.org/relay/proto/agent/v1"
)

// Submission is a message that the agent has submitted.
type Submission struct {
	From    string
	To      []string
	Message string // as the agent gave it
}

// Submitted returns the messages that the agent has submitted and the relay would have sent, in order.
func (h *Host) Submitted() []Submission { return slices.Clone(h.submitted) }

// submit answers a new message as the relay would. What it would not send is no fault of the verdict: the
// agent gets the reason, as there.
func (c *Conn) submit(e *agentv1.Event, w *agentv1.Submit) {
	c.h.t.Helper()
	r := &agentv1.SubmitResult{SubmitId: w.SubmitId}
	if problem := c.submitProblem(e, w); problem != "" {
		r.Failure = &agentv1.Failure{Kind: agentv1.Failure_KIND_CONFIG, Detail: problem}
	} else {
		m := Submission{From: w.From.GetAddress(), Message: string(w.Message)}
		for _, box := range w.Recipients {
			m.To = append(m.To, box.Address)
		}
		c.h.submitted = append(c.h.submitted, m)
		r.MessageId = fmt.Sprintf("submitted-%d", len(c.h.submitted))
		r.Reply = &agentv1.Reply{Code: 250, Enhanced: "2.0.0", Lines: []string{"ok"}}
		if c.h.config.Submit != nil {
			a := c.h.config.Submit(m)
			r.Reply = &agentv1.Reply{Code: uint32(a.Code), Enhanced: a.Enhanced, Lines: a.Lines}
		}
	}
	c.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_SubmitResult{SubmitResult: r}})
}

func (c *Conn) submitProblem(e *agentv1.Event, w *agentv1.Submit) string {
	switch {
	case !c.h.may(agentv1.Permission_PERMISSION_SUBMIT):
		return fmt.Sprintf("the permission %s was not granted", agent.SubmitMail)
	case c.message == nil || e.Type < agentv1.EventType_EVENT_TYPE_END_OF_HEADERS:
		return fmt.Sprintf("nothing can be submitted at %s: it takes an event that has the header section", agent.Event(e.Type))
	case len(w.Recipients) == 0:
		return "there is no recipient"
	}
	for _, box := range w.Recipients {
		if problem := c.message.addressProblem(box.Address); problem != "" {
			return problem
		}
	}
	return messageProblem(string(w.Message))
}

func messageProblem(message string) string {
	bare := strings.ReplaceAll(message, "\r\n", "")
	if strings.ContainsAny(bare, "\r\n\x00") || !strings.HasSuffix(message, "\r\n") {
		return "not a message: its lines must end in CRLF"
	}
	section, _, _ := strings.Cut("\r\n"+message, "\r\n\r\n")
	if !strings.Contains(strings.ToLower(section), "\r\nfrom:") {
		return "not a message: there is no From field"
	}
	return ""
}
