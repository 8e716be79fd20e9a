package relay

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"

	"example.org/relay/relay/config"
)

// certificate is the default certificate, the first pair of the configuration. Safe for
// concurrent use; the zero value has none.
type certificate struct {
	current atomic.Pointer[tls.Certificate]
}

// readCertificate reads the first pair; nil without any.
func readCertificate(pairs []config.TLSPair) (*tls.Certificate, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(pairs[0].Certificate, pairs[0].Key)
	if err != nil {
		return nil, fmt.Errorf("tls.pair: certificate %s and key %s: %w", pairs[0].Certificate, pairs[0].Key, err)
	}
	return &cert, nil
}

// config is for the listeners; handshakes take the certificate of the moment.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := c.current.Load(); cert != nil {
				return cert, nil
			}
			return nil, fmt.Errorf("no certificate is configured")
		},
	}
}
