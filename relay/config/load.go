package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile is how large a file may be. A larger one is a mistake, and the parser's depth
// grows with it.
const maxFile = 1 << 20

// maxDepth is how deep tables and arrays may nest: the parser recurses.
const maxDepth = 64

// Load reads the file and checks all of it. What is wrong with it comes back as Problems,
// all at once; any other error says that the file cannot be read.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return data, nil
}

// Parse is Load of what the file at path has in it. Relative paths in it are taken from the
// directory of path, and the certificates it names are read.
func Parse(path string, data []byte) (*Config, error) {
	r := &report{file: path}
	table, err := parseTOML(data)
	if err != nil {
		r.problems = append(r.problems, syntaxProblem(path, err))
		return nil, r.err()
	}
	r.lines = findLines(string(data))
	f := newFile()
	(&decoder{r, f}).decode(table)
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c := f.config(absolute)
	(&rules{r, c}).check()
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// config makes paths absolute and fills in what the machine knows.
func (f *file) config(path string) *Config {
	c := &Config{
		File: path, Hostname: f.Hostname, StateDir: f.StateDir, AcceptedDomains: f.AcceptedDomains, TLSPairs: f.TLS.Pairs,
		NextHops: f.NextHops, FrontEnd: f.FrontEnd, Hub: f.Hub, Edge: f.Edge,
		Limits: f.Limits, Networks: f.Networks, Agents: f.Agents, ACME: f.TLS.ACME, Auth: f.Auth,
	}
	if c.Hostname == "" {
		c.Hostname, _ = os.Hostname() // where it fails, the rule for hostname says so
	}
	from := filepath.Dir(path)
	c.StateDir = below(from, c.StateDir)
	for i := range c.TLSPairs {
		p := &c.TLSPairs[i]
		p.Certificate, p.Key = below(from, p.Certificate), below(from, p.Key)
	}
	c.Auth.Users = below(from, c.Auth.Users)
	if c.ACME != nil {
		c.ACME.CA = below(from, c.ACME.CA)
	}
	for name, n := range c.NextHops {
		n.Name = name
		n.CA, n.Certificate, n.Key = below(from, n.CA), below(from, n.Certificate), below(from, n.Key)
		if n.Auth != nil {
			n.Auth.PasswordFile, n.Auth.TokenFile = below(from, n.Auth.PasswordFile), below(from, n.Auth.TokenFile)
		}
		c.NextHops[name] = n
	}
	for _, all := range [][]Listener{c.FrontEnd.listeners(), c.Hub.listeners(), c.Edge.listeners()} {
		for i := range all {
			if all[i].TLS == "" {
				all[i].TLS = "none"
				if len(c.TLSPairs) > 0 || c.ACME != nil {
					all[i].TLS = "starttls"
				}
			}
		}
	}
	return c
}

func below(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func (f *FrontEnd) listeners() []Listener {
	if f == nil {
		return nil
	}
	return f.Listeners
}

func (h *Hub) listeners() []Listener {
	if h == nil {
		return nil
	}
	return h.Listeners
}

// parseTOML parses what may be too large, too deep or no TOML at all.
func parseTOML(data []byte) (map[string]any, error) {
	if len(data) > maxFile {
		return nil, errors.New("is larger than 1 MiB")
	}
	if err := checkDepth(string(data)); err != nil {
		return nil, err
	}
	var table map[string]any
	if _, err := toml.Decode(string(data), &table); err != nil {
		return nil, err
	}
	return table, nil
}

func syntaxProblem(path string, err error) Problem {
	p := Problem{File: path, Text: err.Error()}
	var at toml.ParseError
	if errors.As(err, &at) {
		p.Line, p.Text = at.Position.Line, strings.TrimSpace(at.Message)
	}
	return p
}
