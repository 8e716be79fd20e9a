package config

import (
	"errors"
	"strconv"
	"strings"
)

// lines says on which line a key is set: "frontend.listener[0].tls" → 12. The TOML parser
// knows, but does not tell.
type lines map[string]int

// of returns the line of the key, or else of the table or array it belongs to; 0 if none.
func (l lines) of(key string) int {
	for key != "" {
		if n := l[key]; n > 0 {
			return n
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 0
}

// join appends a key to the path of its table.
func join(path, key string) string {
	if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// index is the path of the n-th element of an array.
func index(path string, n int) string { return path + "[" + strconv.Itoa(n) + "]" }

// findLines walks a file that has parsed already, so that it needs to know only where
// headers, keys and values begin and end.
func findLines(text string) lines {
	s := scanner{text: text, line: 1}
	found := lines{}
	count := map[string]int{} // of an array of tables: elements so far
	table := ""
	for s.toKey() {
		line := s.line
		if s.text[s.at] != '[' {
			path := s.path(table, count)
			s.value()
			found.set(path, line)
			continue
		}
		s.at++
		array := s.next('[')
		table = s.path("", count)
		if array {
			n := count[table]
			count[table]++
			table = index(table, n)
		}
		found.set(table, line)
		s.endOfLine()
	}
	return found
}

// set notes the line of a key, and of the tables above it that have none.
func (l lines) set(path string, line int) {
	for path != "" && l[path] == 0 {
		l[path] = line
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// scanner goes over the text of a file.
type scanner struct {
	text     string
	at, line int
}

func (s *scanner) more() bool { return s.at < len(s.text) }

func (s *scanner) next(c byte) bool {
	if s.more() && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

// toKey goes past space, empty lines and comments, and reports whether anything follows.
func (s *scanner) toKey() bool {
	for s.more() {
		switch s.text[s.at] {
		case '\n':
			s.line++
			s.at++
		case '#':
			s.endOfLine()
		case ' ', '\t', '\r', 0xEF, 0xBB, 0xBF: // the last three: a byte order mark
			s.at++
		default:
			return true
		}
	}
	return false
}

func (s *scanner) endOfLine() {
	if n := strings.IndexByte(s.text[s.at:], '\n'); n >= 0 {
		s.at += n
	} else {
		s.at = len(s.text)
	}
}

// path reads a dotted key in table, up to "=", "]" or the end of the line. A name that is
// an array of tables so far stands for its last element.
func (s *scanner) path(table string, count map[string]int) string {
	path := table
	for s.more() {
		switch c := s.text[s.at]; c {
		case '=', ']', '\n', '#':
			return path
		case ' ', '\t', '\r', '.':
			s.at++
			continue
		default:
			if n := count[path]; n > 0 {
				path = index(path, n-1)
			}
			path = join(path, s.key(c))
		}
	}
	return path
}

func (s *scanner) key(c byte) string {
	from := s.at
	if c == '"' || c == '\'' {
		s.quoted()
		word := s.text[from:s.at]
		if unquoted, err := strconv.Unquote(word); err == nil && c == '"' {
			return unquoted
		}
		return strings.Trim(word, `'"`)
	}
	if n := strings.IndexAny(s.text[s.at:], " \t\r\n.=]#"); n > 0 {
		s.at += n
	} else {
		s.at = len(s.text)
	}
	return s.text[from:s.at]
}

// quoted goes past a string of any of the four kinds.
func (s *scanner) quoted() {
	c := s.text[s.at]
	end := string(c)
	if three := strings.Repeat(end, 3); strings.HasPrefix(s.text[s.at:], three) {
		end = three
	}
	s.at += len(end)
	for s.more() && !strings.HasPrefix(s.text[s.at:], end) {
		if c == '"' && s.text[s.at] == '\\' {
			s.at++
		}
		if s.more() && s.text[s.at] == '\n' {
			s.line++
		}
		s.at++
	}
	s.at = min(s.at+len(end), len(s.text))
	for len(end) == 3 && s.next(c) { // up to two quotes may stand before the closing three
	}
}

// value goes to the end of the line on which the value ends, and returns how deep arrays,
// inline tables and dotted keys in it nest.
func (s *scanner) value() int {
	open, dots, deepest := 0, 0, 0
	for s.more() {
		switch s.text[s.at] {
		case '"', '\'':
			s.quoted()
			continue
		case '#':
			s.endOfLine()
			continue
		case '.':
			dots++
		case '[', '{':
			open++
			dots = 0
		case ']', '}':
			open--
			dots = 0
		case ',', '=':
			dots = 0
		case '\n':
			if open <= 0 {
				return deepest
			}
			s.line++
			dots = 0
		}
		deepest = max(deepest, open+dots)
		s.at++
	}
	return deepest
}

// checkDepth refuses what would make the parser recurse too deep, before it is parsed.
func checkDepth(text string) error {
	s := scanner{text: text, line: 1}
	for s.toKey() {
		if s.value() > maxDepth {
			return errors.New("keys, arrays or inline tables nest too deep")
		}
	}
	return nil
}
