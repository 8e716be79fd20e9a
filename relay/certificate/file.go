package certificate

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Pair is a certificate chain and its key: the paths of two PEM files.
type Pair struct {
	Certificate string
	Key         string
}

// file is a pair as it was last read well.
type file struct {
	Pair
	cert *tls.Certificate
	read stamp // what the files were when cert was read
	// bad is what they were when they last could not be read, or made no pair; said: so has the log.
	bad  *stamp
	said bool
}

// stamp tells one state of the two files from another. A file that is not there is nil.
type stamp [2]os.FileInfo

func (p Pair) stamp() stamp {
	var s stamp
	for i, path := range []string{p.Certificate, p.Key} {
		if info, err := os.Stat(path); err == nil {
			s[i] = info
		}
	}
	return s
}

func (s stamp) equal(other stamp) bool {
	for i, a := range s {
		b := other[i]
		if a == nil || b == nil {
			if a != b {
				return false
			}
			continue
		}
		if !os.SameFile(a, b) || a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) {
			return false
		}
	}
	return true
}

// readFiles reads all pairs or says which one cannot be.
func readFiles(pairs []Pair) ([]*file, error) {
	var all []*file
	for _, p := range pairs {
		f := &file{Pair: p, read: p.stamp()} // before it is read: a later change is seen as one
		cert, err := p.load()
		if err != nil {
			return nil, fmt.Errorf("tls.pair: certificate %s and key %s: %w", p.Certificate, p.Key, err)
		}
		f.cert = cert
		all = append(all, f)
	}
	return all, nil
}

func (p Pair) load() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
	if err != nil {
		return nil, err
	}
	return &cert, nil
}

// look reads the pair again where its files are others. What is no pair, or not valid today where
// the old one is, leaves the old one in force. The log says so once for each change, and not
// before a second look: the two files are never replaced at the same time. While they are bad
// they are read at every look, so that it is noticed when their permissions are put right.
func (f *file) look(log *slog.Logger) {
	now := f.stamp()
	if now.equal(f.read) {
		f.bad = nil
		return
	}
	cert, err := f.load()
	if err == nil {
		err = f.worse(cert)
	}
	if err == nil {
		f.cert, f.read, f.bad = cert, now, nil
		f.logLoaded(log)
		return
	}
	if f.bad == nil || !f.bad.equal(now) {
		f.bad, f.said = &now, false
		return
	}
	if !f.said {
		f.said = true
		log.Error("certificate not loaded, the old one stays in force",
			"certificate", f.Certificate, "key", f.Key, "expires", day(f.cert.Leaf.NotAfter), "cause", err)
	}
}

func (f *file) logLoaded(log *slog.Logger) {
	log.Info("certificate loaded", "certificate", f.Certificate, "names", names(f.cert), "expires", day(f.cert.Leaf.NotAfter))
}

// worse says why the certificate must not take the place of the one in force.
func (f *file) worse(cert *tls.Certificate) error {
	now := time.Now()
	switch {
	case invalid(f.cert, now) != nil:
		return nil
	default:
		return invalid(cert, now)
	}
}

// invalid says why a certificate is not valid at a time.
func invalid(cert *tls.Certificate, now time.Time) error {
	switch {
	case now.After(cert.Leaf.NotAfter):
		return fmt.Errorf("it has expired, on %s", day(cert.Leaf.NotAfter))
	case now.Before(cert.Leaf.NotBefore):
		return fmt.Errorf("it is not valid before %s", day(cert.Leaf.NotBefore))
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
