package agent

import (
	"errors"
	"os"
	"path/filepath"
)

// SaveFile puts data in the place of the file at path, for what an agent keeps in its
// StateDir: a crash, of the agent or the machine, leaves the old file or the new one, whole.
// The file is the agent's user's alone.
func SaveFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
