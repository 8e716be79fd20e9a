package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	Line int    // 0: not known, or about the whole file
	Key  string // "frontend.listener[0].tls"; empty: about the whole file
	Text string
}

// String prints the problem on one line: file:line: key: text.
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
	}
	if p.Key != "" {
		s += ": " + p.Key
	}
	return s + ": " + p.Text
}

// Problems are all that is wrong with a file, in the file's order. They are the error of
// Load.
type Problems []Problem

// Error prints one problem on each line.
func (p Problems) Error() string {
	all := make([]string, len(p))
	for i := range p {
		all[i] = p[i].String()
	}
	return strings.Join(all, "\n")
}

// report collects problems of one file.
type report struct {
	file     string
	lines    lines
	problems Problems
}

func (r *report) add(key, format string, args ...any) {
	r.problems = append(r.problems, Problem{
		File: r.file, Line: r.lines.of(key), Key: key, Text: fmt.Sprintf(format, args...),
	})
}

// has reports whether the key has a problem already: it is not to be judged again.
func (r *report) has(key string) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool { return p.Key == key })
}

// err returns the problems in the file's order, or nil.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), strings.Compare(a.Key, b.Key))
	})
	return r.problems
}
