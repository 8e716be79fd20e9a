package agents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
)

// errGone says that the instance died while it was asked: the asker is a suspect.
var errGone = errors.New("agent process is gone")

// errStale says that the agent ended a kept stream after its last session, which it may: the
// event goes over another one.
var errStale = errors.New("agent ended the stream after the last session")

// The sizes above which an attached part goes in chunks, so that no frame is larger than the contract allows:
// header section, envelope and bags may all come on one event. Who takes no chunks gets a part of up to
// largestPart with the event.
const (
	largeHeaders  = 512 << 10
	largeEnvelope = 256 << 10
	largestPart   = 900 << 10
	chunkSize     = 512 << 10
)

// manyRecipients is from when on an envelope may be large: one with all its parameters takes up to 2.5 KB.
const manyRecipients = 100

// stream is one kept Session stream with the frames used on it. It serves one conversation
// at a time, and is used by that one's goroutine.
type stream struct {
	grpc.BidiStreamingClient[agentv1.HostFrame, agentv1.AgentFrame]
	inst   *instance
	cancel context.CancelFunc
	timer  *time.Timer // cancels the stream: RecvMsg has no deadline
	late   atomic.Bool // the timer has fired
	broken bool        // must not be used again
	acks   int         // SessionEnded frames still to come before the verdicts of this session
	reused bool        // it has served another session, and no verdict of this one has come yet

	slots   []*slot
	events  agentv1.Events
	frame   agentv1.HostFrame // holds events
	end     agentv1.SessionEnd
	endOf   agentv1.HostFrame // holds end
	headers agentv1.HeaderBlock
	in      agentv1.AgentFrame
}

// take returns a stream of the instance: a kept one, or, if none is there or fresh, a new one. It waits, until stop, for
// one of the sessions that the agent takes at the same time.
func (i *instance) take(ctx context.Context, stop <-chan time.Time, fresh bool) (*stream, error) {
	if i.slots != nil {
		select {
		case i.slots <- struct{}{}:
		default:
			select {
			case i.slots <- struct{}{}:
			case <-stop:
				return nil, fmt.Errorf("%w: it takes %d sessions at a time", event.ErrOverloaded, cap(i.slots))
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-i.gone:
				return nil, errGone
			}
		}
	}
	i.mu.Lock()
	if n := len(i.free); n > 0 && !fresh {
		s := i.free[n-1]
		i.free[n-1], i.free = nil, i.free[:n-1]
		i.mu.Unlock()
		s.reused = true
		return s, nil
	}
	i.mu.Unlock()
	s := &stream{inst: i}
	s.frame.Frame = &agentv1.HostFrame_Events{Events: &s.events}
	s.endOf.Frame = &agentv1.HostFrame_End{End: &s.end}
	var streamCtx context.Context
	streamCtx, s.cancel = context.WithCancel(i.ctx)
	s.timer = time.AfterFunc(time.Hour, func() {
		s.late.Store(true)
		s.cancel()
	})
	s.timer.Stop()
	// Opening waits where the agent's connection takes no more streams.
	s.timer.Reset(configureTime)
	var err error
	s.BidiStreamingClient, err = i.Session(streamCtx)
	if s.disarm(); err != nil {
		s.broken = true
		s.release()
		return nil, s.explain(err)
	}
	return s, nil
}

// release gives the stream back: to the next session, or to nobody where it is broken.
func (s *stream) release() {
	i := s.inst
	keep := !s.broken && i.usable()
	if keep {
		i.mu.Lock()
		if keep = len(i.free) < maxIdle; keep {
			i.free = append(i.free, s)
		}
		i.mu.Unlock()
	}
	if !keep {
		s.timer.Stop()
		s.cancel()
	}
	if i.slots != nil {
		<-i.slots
	}
}

// arm makes the stream end when the time is over, disarm takes that back. Where it was too
// late for that, the stream is broken.
func (s *stream) arm(limit time.Duration) { s.timer.Reset(limit) }

func (s *stream) disarm() {
	if !s.timer.Stop() {
		s.broken = true
	}
}

// explain makes of an error of the stream what it means for the event.
func (s *stream) explain(err error) error {
	s.broken = true
	if s.late.Load() {
		return event.ErrTimeout
	}
	code := status.Code(err)
	if code == codes.Unavailable || code == codes.Canceled && s.Context().Err() == nil {
		// The connection broke, or was closed; the instance will know within milliseconds.
		wait := time.NewTimer(mercyOnError)
		defer wait.Stop()
		select {
		case <-s.inst.gone:
		case <-wait.C:
		}
	}
	if s.inst.isGone() {
		return errGone
	}
	if s.reused && code != codes.Canceled && code != codes.ResourceExhausted {
		return errStale
	}
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it ended the session without a verdict", event.ErrProtocol)
	case code == codes.ResourceExhausted:
		return fmt.Errorf("%w: a frame larger than %d octets", event.ErrProtocol, agentv1.MaxFrameBytes)
	case code == codes.Unavailable:
		return fmt.Errorf("%w: %s", event.ErrUnavailable, oneLine(status.Convert(err).Message(), 300))
	case code == codes.Canceled:
		return context.Canceled
	}
	return fmt.Errorf("%w: it ended the session: %s", event.ErrProtocol, oneLine(status.Convert(err).Message(), 300))
}

// send sends a frame. The message may be used again when it returns: it has been encoded.
func (s *stream) send(f *agentv1.HostFrame) error {
	err := s.Send(f)
	if errors.Is(err, io.EOF) { // the stream has ended; receiving says why
		for err = nil; err == nil; {
			err = s.RecvMsg(&s.in)
		}
	}
	return err
}

// slot returns the n-th event object of the frame.
func (s *stream) slot(n int) *slot {
	for len(s.slots) <= n {
		s.slots = append(s.slots, &slot{})
	}
	return s.slots[n]
}

// chunks sends an attached part that is too large for a frame.
func (s *stream) chunks(part agentv1.StateChunk_Part, m proto.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(len(data), chunkSize)
		c := &agentv1.StateChunk{Part: part, Data: data[:n], Last: n == len(data)}
		if err := s.send(&agentv1.HostFrame{Frame: &agentv1.HostFrame_State{State: c}}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// verdict waits for the answer to the event of this seq.
func (s *stream) verdict(d *deliberation) (event.Verdict, error) {
	for {
		if err := s.RecvMsg(&s.in); err != nil {
			return event.Verdict{}, s.explain(err)
		}
		switch f := s.in.Frame.(type) {
		case *agentv1.AgentFrame_Ended:
			if s.acks == 0 {
				return event.Verdict{}, s.offence("ended a session that goes on")
			}
			s.acks--
		case *agentv1.AgentFrame_Verdicts:
			switch v := f.Verdicts.Verdicts; {
			case len(v) == 0:
			case s.acks > 0:
				return event.Verdict{}, s.offence("a verdict of a session that has ended")
			case len(v) > 1:
				return event.Verdict{}, s.offence(fmt.Sprintf("%d verdicts for one event", len(v)))
			case v[0].GetSeq() != d.seq:
				return event.Verdict{}, s.offence(fmt.Sprintf("a verdict for event %d, asked was %d", v[0].GetSeq(), d.seq))
			default:
				s.reused = false
				s.inst.answered.Store(true)
				return verdictOf(v[0])
			}
		case *agentv1.AgentFrame_Submit:
			switch {
			case !s.inst.terms.Load().submit:
				return event.Verdict{}, s.offence("a submission, and the capability for it was not agreed on")
			case s.acks > 0:
				return event.Verdict{}, s.offence("a submission in a session that has ended")
			}
			s.reused = false // it has heard of this session
			if err := s.submit(d, f.Submit); err != nil {
				return event.Verdict{}, err
			}
		case nil: // a frame this host does not know
		default:
			return event.Verdict{}, s.offence(fmt.Sprintf("a frame that was not agreed on (%T)", f))
		}
	}
}

func (s *stream) offence(what string) error {
	s.broken = true
	return fmt.Errorf("%w: %s", event.ErrProtocol, what)
}
