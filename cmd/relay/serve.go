package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"example.org/relay/plugins/agent/processors"
	"example.org/relay/proto/control/v1"
	"example.org/relay/relay"
)

func (a *app) serve() *cobra.Command {
	var level string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the relay in the foreground",
		Long: `Run the relay in the foreground. It logs to standard error, in JSON, or as text
where that is a terminal.

SIGHUP reads the configuration again. SIGTERM and SIGINT end it: it takes no more
connections, lets messages under way come to their end, and exits; a second one
ends it at once.`,
		Example: "  relay serve\n  relay serve --config /etc/relay/config.toml --log-level debug",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return wrongUse("--log-level %q: must be debug, info, warn or error", level)
			}
			path, err := a.configPath()
			if err != nil {
				return err
			}
			r, err := relay.New(path, logger(a.stderr, l))
			if err != nil {
				return err
			}
			return serve(cmd.Context(), r, logger(a.stderr, l))
		},
	}
	c.Flags().StringVar(&level, "log-level", "info", "what is logged: debug, info, warn or error")
	return c
}

func logger(w io.Writer, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// errAtOnce is the end that a second signal wants. Agents end with us: the system sees to it.
var errAtOnce = errors.New("ended at once by a second signal; sessions were cut off")

// gcPercent trades memory for processor time: the live heap is some 10 MB, so that the
// collector may run when it has grown to 50 and not already at 20 (see docs/performance.md).
// GOGC in the environment decides otherwise.
const gcPercent = 400

// serve runs the relay until a signal ends it.
func serve(ctx context.Context, r *relay.Relay, log *slog.Logger) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	processors.Share()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				go reload(ctx, r, log)
			case ctx.Err() != nil:
				return errAtOnce
			default:
				log.Info("signal received", "signal", s.String())
				drain()
			}
		}
	}
}

// reload is what SIGHUP wants. A configuration that is not good is told of in the log: nobody
// waits for the answer.
func reload(ctx context.Context, r *relay.Relay, log *slog.Logger) {
	got, err := r.Reload(ctx, &controlv1.ReloadRequest{})
	if err != nil {
		log.Error("configuration not reloaded, the old one stays in force", "cause", plain(err))
		return
	}
	log.Info("configuration reloaded", "changed", list(got.GetChanged()), "needs_restart", list(got.GetNeedsRestart()))
}
