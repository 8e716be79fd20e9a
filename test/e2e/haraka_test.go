package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"example.org/relay/test/needs"
	"example.org/relay/test/relaytest"
)

// keep is a plugin for Haraka: alice and bob live here, and each has a folder with their mail.
const keep = `
const fs = require('node:fs')
const path = require('node:path')
const users = ['alice', 'bob']
exports.hook_lookup_rdns = (next) => next(OK, 'client.example.net')
exports.hook_rcpt = (next, connection, [rcpt]) =>
  users.includes(rcpt.user) ? next(OK) : next(DENY, 'no such user here')
exports.hook_queue = (next, connection) => {
  const t = connection.transaction
  const file = fs.createWriteStream(path.join(process.env.KEEP, t.uuid))
  file.once('close', () => {
    for (const rcpt of t.rcpt_to) {
      // What is found in a folder is whole.
      fs.copyFileSync(path.join(process.env.KEEP, t.uuid), path.join(process.env.KEEP, 'part'))
      fs.renameSync(path.join(process.env.KEEP, 'part'), path.join(process.env.KEEP, rcpt.user, t.uuid))
    }
    next(OK, 'kept by Haraka')
  })
  t.message_stream.pipe(file)
}
`

// startHaraka runs a Haraka that keeps mail for alice and bob of example.org, and knows nobody else.
func startHaraka(t *testing.T, cert pair) mailServer {
	t.Helper()
	node, modules := needs.Program(t, "node"), peer(t, "npm/node_modules")
	dir := folder(t, "config", "plugins", "queue", "mail/alice", "mail/bob")
	_, port, _ := net.SplitHostPort(freeAddr(t))
	// It makes parameters of its own otherwise, which takes many seconds.
	dh, ok := run(t, "openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")
	if !ok {
		t.Fatalf("openssl: %s", dh)
	}
	for name, text := range map[string]string{
		"config/smtp.ini":       fmt.Sprintf("listen=127.0.0.1:%s\nnodes=0\n", port),
		"config/connection.ini": read(t, filepath.Join(modules, "Haraka/config/connection.ini")),
		"config/dhparams.pem":   dh,
		"config/plugins":        "tls\nkeep\n",
		"config/me":             "haraka.example.org\n",
		"config/log.ini":        "[main]\nlevel=info\n",
		"config/tls_cert.pem":   read(t, cert.certificate),
		"config/tls_key.pem":    read(t, cert.key),
		"plugins/keep.js":       keep,
	} {
		write(t, filepath.Join(dir, name), text)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, filepath.Join(modules, "Haraka/bin/haraka"), "-c", dir)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "KEEP="+filepath.Join(dir, "mail"))
	out := &relaytest.Log{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, cmd, out) })
	addr := net.JoinHostPort("127.0.0.1", port)
	listens(t, "Haraka", addr)
	return mailServer{addr, filepath.Join(dir, "mail", "%s", "*")}
}
