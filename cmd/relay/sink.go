package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"example.org/relay/relay/sink"
)

// sinkDrain is how long messages under way may take when the sink ends.
const sinkDrain = 2 * time.Second

func (a *app) sink() *cobra.Command {
	var (
		listen, dir, pair string
		replies, delays   []string
		quiet             bool
	)
	c := &cobra.Command{
		Use:   "sink [--listen ADDRESS] [--dir DIR] [--reply STAGE=CODE] [--delay STAGE=DURATION] [--quiet]",
		Short: "Take any mail and show it: a next hop for trying things",
		Long: `Take any mail, for any domain, and show it as it arrives: envelope, header and the
beginning of the body. It runs until ^C. Use it as a next hop for trying things;
never where the world can reach it.

With --dir each message is kept in two files: NAME.eml is the content, byte for
byte, and NAME.json the envelope. The .eml comes last: once it is there, both are whole.

STAGE is connect, ehlo, mail, rcpt, data or content (after the whole message).
mail:ADDRESS and rcpt:ADDRESS are for one address. A reply of 421 closes.`,
		Example: `  relay sink
  relay sink --listen 127.0.0.1:0 --dir caught --quiet
  relay sink --reply 'rcpt:bob@example.org=550 5.1.1 no such user' --delay content=5s
  relay sink --reply 'mail=451 4.3.2 busy, try later,data=554'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := sink.Options{Dir: dir, Out: a.stdout, Log: logger(a.stderr, slog.LevelWarn), Format: a.format(quiet)}
			var err error
			if o.Rules, err = rules(replies, delays); err != nil {
				return err
			}
			if o.TLS, err = keyPair(pair); err != nil {
				return err
			}
			return a.runSink(cmd.Context(), listen, o)
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:1025", "the `ADDRESS` to listen on; port 0 is any free one")
	f.StringVar(&dir, "dir", "", "keep the messages in this `DIR`, which is created")
	f.StringArrayVar(&replies, "reply", nil, "answer so at a stage: `STAGE=CODE[ TEXT]`, several with commas between")
	f.StringArrayVar(&delays, "delay", nil, "wait before the answer at a stage: `STAGE=DURATION`, several with commas between")
	f.StringVar(&pair, "tls", "", "offer STARTTLS with this certificate and key: `CERT,KEY`")
	f.BoolVar(&quiet, "quiet", false, "show a line for each message, not the message")
	return c
}

func (a *app) format(quiet bool) sink.Format {
	switch {
	case a.json:
		return sink.JSON
	case quiet:
		return sink.Lines
	}
	return sink.Whole
}

// rules reads what the flags say is to be done at the stages.
func rules(replies, delays []string) (sink.Rules, error) {
	var all sink.Rules
	for _, s := range replies {
		r, err := sink.ParseReplies(s)
		if err != nil {
			return nil, wrongUse("--reply: %w", err)
		}
		all = append(all, r...)
	}
	for _, s := range delays {
		r, err := sink.ParseDelays(s)
		if err != nil {
			return nil, wrongUse("--delay: %w", err)
		}
		all = append(all, r...)
	}
	return all, nil
}

func keyPair(files string) (*tls.Config, error) {
	if files == "" {
		return nil, nil
	}
	cert, key, ok := strings.Cut(files, ",")
	if !ok {
		return nil, wrongUse("--tls %q: must be the certificate's file and the key's, with a comma between", files)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("--tls: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// runSink takes mail until a signal; messages under way come to their end.
func (a *app) runSink(ctx context.Context, address string, o sink.Options) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := sink.New(o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	if err := a.sayListening(l.Addr().String()); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop() // a second ^C ends us the usual way
	ctx, cancel := context.WithTimeout(context.Background(), sinkDrain)
	defer cancel()
	_ = s.Shutdown(ctx) // what is cut off was not kept
	return nil
}

func (a *app) sayListening(address string) error {
	var err error
	if a.json {
		_, err = fmt.Fprintf(a.stdout, "{\"listening\":%q}\n", address)
	} else {
		_, err = fmt.Fprintf(a.stdout, "sink listens on %s\n", address)
	}
	return err
}
