package agentpeers

import (
	"io/fs"
	"os"
)

// without is a folder without its node_modules, which a developer may have there.
type without struct{ fs.FS }

func sources(dir string) fs.FS { return without{os.DirFS(dir)} }

func (w without) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(w.FS, name)
	kept := entries[:0]
	for _, e := range entries {
		if e.Name() != "node_modules" {
			kept = append(kept, e)
		}
	}
	return kept, err
}
