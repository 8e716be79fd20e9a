package control

import (
	"context"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"example.org/relay/proto/control/v1"
)

// Error is what a running relay answered in place of a result.
type Error struct {
	Code    codes.Code
	Message string // a sentence for the operator
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Message }

// Client is a running relay, as the commands reach it: an Operator whose errors are the
// relay's sentences, each an *Error. Safe for concurrent use.
type Client struct {
	conn   *grpc.ClientConn
	rpc    controlv1.ControlClient
	unused atomic.Pointer[net.Conn] // the connection that showed that a relay is there, until it is used
}

var _ Operator = (*Client)(nil)

// Dial reaches the relay whose state directory this is. The error is ErrNotRunning, wrapped,
// where none is running.
func Dial(stateDir string) (*Client, error) {
	first, err := connect(context.Background(), stateDir)
	if err != nil {
		return nil, err
	}
	c := &Client{}
	c.unused.Store(&first)
	c.conn, err = grpc.NewClient("passthrough:///"+SocketName,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket within the machine
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if conn := c.unused.Swap(nil); conn != nil {
				return *conn, nil
			}
			return connect(ctx, stateDir)
		}),
		grpc.WithUnaryInterceptor(plain),
	)
	if err != nil {
		first.Close()
		return nil, err
	}
	c.rpc = controlv1.NewControlClient(c.conn)
	return c, nil
}

// Close closes the connection.
func (c *Client) Close() error {
	if conn := c.unused.Swap(nil); conn != nil {
		(*conn).Close()
	}
	return c.conn.Close()
}

// plain gives a call its time, and turns its error into what the relay said.
func plain(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	err := call(ctx, method, req, reply, cc, opts...)
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	message := s.Message()
	switch {
	case s.Code() == codes.Unavailable:
		message = "the connection to the relay was lost: it went down, or does not let this user in"
	case s.Code() == codes.DeadlineExceeded && ctx.Err() != nil:
		message = "the relay did not answer in time"
	case s.Code() == codes.Canceled && ctx.Err() != nil:
		message = "interrupted before the relay answered"
	case s.Code() == codes.Unimplemented:
		message = "the running relay is of another version and does not know this command"
	}
	return &Error{s.Code(), message}
}

// Status asks how the relay stands.
func (c *Client) Status(ctx context.Context, r *controlv1.StatusRequest) (*controlv1.StatusResponse, error) {
	return c.rpc.Status(ctx, r)
}

// Reload has the configuration read again.
func (c *Client) Reload(ctx context.Context, r *controlv1.ReloadRequest) (*controlv1.ReloadResponse, error) {
	return c.rpc.Reload(ctx, r)
}

// InstallAgent adds an agent, disabled and last.
func (c *Client) InstallAgent(ctx context.Context, r *controlv1.InstallAgentRequest) (*controlv1.AgentChange, error) {
	return c.rpc.InstallAgent(ctx, r)
}

// UninstallAgent takes an agent out.
func (c *Client) UninstallAgent(ctx context.Context, r *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return c.rpc.UninstallAgent(ctx, r)
}

// EnableAgent puts an agent in force.
func (c *Client) EnableAgent(ctx context.Context, r *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return c.rpc.EnableAgent(ctx, r)
}

// DisableAgent takes an agent out of force.
func (c *Client) DisableAgent(ctx context.Context, r *controlv1.AgentRequest) (*controlv1.AgentChange, error) {
	return c.rpc.DisableAgent(ctx, r)
}

// SetAgent changes an agent.
func (c *Client) SetAgent(ctx context.Context, r *controlv1.SetAgentRequest) (*controlv1.AgentChange, error) {
	return c.rpc.SetAgent(ctx, r)
}

// GetAgents lists agents.
func (c *Client) GetAgents(ctx context.Context, r *controlv1.GetAgentsRequest) (*controlv1.GetAgentsResponse, error) {
	return c.rpc.GetAgents(ctx, r)
}

// GetPipeline lists events with their agents.
func (c *Client) GetPipeline(ctx context.Context, r *controlv1.GetPipelineRequest) (*controlv1.GetPipelineResponse, error) {
	return c.rpc.GetPipeline(ctx, r)
}

// BypassAgent lets mail go on without an agent for a while.
func (c *Client) BypassAgent(ctx context.Context, r *controlv1.BypassAgentRequest) (*controlv1.AgentChange, error) {
	return c.rpc.BypassAgent(ctx, r)
}

// Explain says what would happen to a mail.
func (c *Client) Explain(ctx context.Context, r *controlv1.ExplainRequest) (*controlv1.ExplainResponse, error) {
	return c.rpc.Explain(ctx, r)
}
