package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.org/relay/proto/control/v1"
)

// stopPatience is how long calls under way may still take when the relay goes down.
const stopPatience = 5 * time.Second

// Serve answers the commands on l until ctx ends, then lets calls under way finish for a few
// seconds and closes l. It returns nil then, and an error where l fails before.
func Serve(ctx context.Context, l net.Listener, o Operator, log *slog.Logger) error {
	return serve(ctx, &guarded{l, ownOrRoot, log}, o, log)
}

func serve(ctx context.Context, l net.Listener, o Operator, log *slog.Logger) error {
	s := grpc.NewServer(grpc.ChainUnaryInterceptor(bounded, told, survive(log)))
	controlv1.RegisterControlServer(s, service{Operator: o})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		s.Stop()
		return fmt.Errorf("control socket: %w", err)
	case <-ctx.Done():
	}
	cut := time.AfterFunc(stopPatience, s.Stop)
	defer cut.Stop()
	s.GracefulStop()
	<-ended
	return nil
}

// service is an Operator as gRPC wants it.
type service struct {
	Operator
	controlv1.UnsafeControlServer
}

// bounded gives a call its time.
func bounded(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	return h(ctx, req)
}

// told puts an error into the words that go over the wire: the operator's own, whole.
func told(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	r, err := h(ctx, req)
	if err == nil {
		return r, nil
	}
	if coded, ok := err.(interface{ GRPCStatus() *status.Status }); ok && coded.GRPCStatus() != nil {
		return nil, err // made with a code; a wrapped one would lose the words around it
	}
	code := codes.FailedPrecondition
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	}
	return nil, status.Error(code, err.Error())
}

// survive keeps the relay up when an operation panics.
func survive(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (r any, err error) {
		defer func() {
			if v := recover(); v != nil {
				log.Error("panic in a control call", "call", info.FullMethod, "cause", v, "stack", string(debug.Stack()))
				r, err = nil, status.Error(codes.Internal, "internal error of the relay; its log has the details")
			}
		}()
		return h(ctx, req)
	}
}
