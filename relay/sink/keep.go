package sink

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"path/filepath"
)

// file is a message on its way into the directory. Nothing is there under its final name
// before keep. It is not synced: this is for trying things, not for keeping mail.
type file struct {
	f    *os.File
	w    *bufio.Writer
	sum  hash.Hash
	name string // final path without extension
}

func create(dir, name string) (*file, error) {
	final := filepath.Join(dir, name)
	f, err := os.OpenFile(final+".eml.part", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep message: %w", err)
	}
	return &file{f: f, w: bufio.NewWriterSize(f, 64<<10), sum: sha256.New(), name: final}, nil
}

func (f *file) Write(p []byte) (int, error) {
	f.sum.Write(p)
	return f.w.Write(p)
}

// keep writes the envelope and gives both files their names, the content last: once it is
// there, both are whole.
func (f *file) keep(m *Message) error {
	m.SHA256 = hex.EncodeToString(f.sum.Sum(nil))
	m.File = filepath.Base(f.name) + ".eml"
	err := f.w.Flush()
	if cerr := f.f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = f.rename(m)
	}
	if err != nil {
		f.remove()
		return fmt.Errorf("keep message: %w", err)
	}
	return nil
}

func (f *file) rename(m *Message) error {
	envelope, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.name+".json.part", append(envelope, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Rename(f.name+".json.part", f.name+".json"); err != nil {
		return err
	}
	return os.Rename(f.name+".eml.part", f.name+".eml")
}

// drop takes the message away again: it was refused, or never came to its end.
func (f *file) drop() {
	f.f.Close()
	f.remove()
}

func (f *file) remove() {
	for _, ext := range []string{".eml.part", ".json.part", ".json"} {
		os.Remove(f.name + ext)
	}
}
