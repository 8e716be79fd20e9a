package certificate

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// "retrying_in":60000000000 told nobody when it would try again.
func TestDurationsOfTheLibraryCanBeRead(t *testing.T) {
	var out bytes.Buffer
	zap.New(core{ctx: t.Context(), log: slog.New(slog.NewJSONHandler(&out, nil))}).Error("will retry", zap.Duration("retrying_in", time.Minute), zap.Int("attempt", 1))
	for _, want := range []string{`"msg":"acme"`, `"says":"will retry"`, `"retrying_in":"1m0s"`, `"attempt":1`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}
