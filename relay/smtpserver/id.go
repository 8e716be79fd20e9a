package smtpserver

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// idSource makes session ids: 13 characters, the first eight of them milliseconds, so that
// ids sort by time, the others random and rising within a millisecond, so that no two are
// the same.
type idSource struct {
	mu   sync.Mutex
	time uint64
	low  uint64
}

const (
	idAlphabet = "0123456789abcdefghijklmnopqrstuv" // in the order of its octets: base32hex
	idLowBits  = 25
	idTimeBits = 40 // 34 years of milliseconds
)

var idEpoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

func (s *idSource) next() string {
	s.mu.Lock()
	now := uint64(time.Now().UnixMilli()-idEpoch) & (1<<idTimeBits - 1)
	if now > s.time {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		s.time = now
		s.low = uint64(binary.BigEndian.Uint32(b[:])) >> (32 - idLowBits + 1) // the top bit is room to count
	} else if s.low++; s.low == 1<<idLowBits {
		s.time, s.low = s.time+1, 0
	}
	t, low := s.time, s.low
	s.mu.Unlock()

	var id [13]byte
	for i := 12; i >= 8; i-- {
		id[i] = idAlphabet[low&31]
		low >>= 5
	}
	for i := 7; i >= 0; i-- {
		id[i] = idAlphabet[t&31]
		t >>= 5
	}
	return string(id[:])
}
