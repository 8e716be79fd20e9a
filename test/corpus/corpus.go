// Package corpus gives tests a body of awkward messages and an opinion on each that owes nothing to the relay.
//
// A corpus is a directory with a MANIFEST.tsv and one file a message under messages/<set>/. The project's own is
// testdata/corpus; RELAY_CORPUS may name a larger one of the same layout. For a message, Wire gives the octets to send
// (before dot-stuffing), Scan says why a relay must refuse them, Split and ReplaceSubject say what must arrive
// where an agent has changed the Subject.
//
// The package shares no code with the relay, and must not: where both came from one parser, a test would compare that
// parser with itself. It is plain loops over octets, for tests only.
package corpus

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ForeignEnv names the environment variable with the directory of a further corpus.
const ForeignEnv = "RELAY_CORPUS"

// manifestHeader is the first line of a MANIFEST.tsv.
const manifestHeader = "file\tbytes\tsha256\tfeatures"

// A Message is one file of a corpus, or one made by Generated.
type Message struct {
	// File is the path in the corpus with forward slashes: messages/<set>/<name>, or generated/<name>.
	File string
	// Set is the directory the file lies in: where the message comes from.
	Set string
	// Features is what the manifest says of the file; see README.md of testdata/corpus.
	Features []string
	// Raw is the file, octet for octet. Shared: do not change it.
	Raw []byte
}

// Has reports whether the manifest gives the message this feature.
func (m Message) Has(feature string) bool { return slices.Contains(m.Features, feature) }

// Dir finds testdata/corpus of the module that the working directory lies in, so that a test of any package finds it.
func Dir() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the corpus: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		corpus := filepath.Join(dir, "testdata", "corpus")
		if _, err := os.Stat(filepath.Join(corpus, "MANIFEST.tsv")); err == nil {
			return corpus, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the corpus: no testdata/corpus above %s", start)
		}
	}
}

// Foreign is the directory named by RELAY_CORPUS, "" where there is none.
func Foreign() string { return os.Getenv(ForeignEnv) }

// Load reads the messages that the MANIFEST.tsv of dir lists, in its order. A file that is missing, or whose size or
// SHA-256 is not the manifest's, is an error; all such files are named at once.
func Load(dir string) ([]Message, error) {
	manifest, err := os.ReadFile(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		return nil, fmt.Errorf("load corpus: %w", err)
	}
	var messages []Message
	var problems []error
	lines := bufio.NewScanner(bytes.NewReader(manifest))
	for n := 1; lines.Scan(); n++ {
		if n == 1 {
			if lines.Text() != manifestHeader {
				return nil, fmt.Errorf("load corpus %s: MANIFEST.tsv does not begin with %q", dir, manifestHeader)
			}
			continue
		}
		m, err := loadLine(dir, lines.Text())
		if err != nil {
			problems = append(problems, fmt.Errorf("load corpus: MANIFEST.tsv line %d: %w", n, err))
			continue
		}
		messages = append(messages, m)
	}
	if err := errors.Join(append(problems, lines.Err())...); err != nil {
		return nil, err
	}
	return messages, nil
}

// loadLine reads the message of one manifest line and checks it against that line.
func loadLine(dir, line string) (Message, error) {
	columns := strings.Split(line, "\t")
	if len(columns) != 4 {
		return Message{}, fmt.Errorf("%d columns, want 4", len(columns))
	}
	file, sum := columns[0], columns[2]
	parts := strings.Split(file, "/")
	if len(parts) != 3 || parts[0] != "messages" || !fs.ValidPath(file) {
		return Message{}, fmt.Errorf("%s: want messages/<set>/<name>", file)
	}
	raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file)))
	if err != nil {
		return Message{}, err
	}
	if size := strconv.Itoa(len(raw)); size != columns[1] {
		return Message{}, fmt.Errorf("%s: %s octets, manifest says %s", file, size, columns[1])
	}
	if got := sha256.Sum256(raw); hex.EncodeToString(got[:]) != sum {
		return Message{}, fmt.Errorf("%s: SHA-256 %x, manifest says %s", file, got, sum)
	}
	return Message{File: file, Set: parts[1], Features: strings.Split(columns[3], ","), Raw: raw}, nil
}
