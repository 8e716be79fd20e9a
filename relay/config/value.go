package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// duration reads "5m". A bare number is refused: nobody can tell its unit.
func duration(in any, zero bool) (time.Duration, error) {
	s, _ := in.(string)
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf(`must be a duration with a unit, as "90s", "5m" or "48h", got %s`, show(in))
	case d < 0:
		return 0, fmt.Errorf("must not be negative, got %s", show(in))
	case d == 0 && !zero:
		return 0, fmt.Errorf("must be more than 0, got %s", show(in))
	}
	return d, nil
}

// ParseSize reads a size as it stands in the configuration, "35MB", into octets. "0" is one too.
func ParseSize(text string) (int64, error) {
	if text == "0" {
		return 0, nil
	}
	return size(text, true)
}

var sizeUnits = map[string]int64{"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}

// size reads "35MB" into octets.
func size(in any, zero bool) (int64, error) {
	s, _ := in.(string)
	digits := strings.TrimRight(s, " BKMGbkmg")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, ok := sizeUnits[strings.ToUpper(strings.TrimSpace(s[len(digits):]))]
	switch {
	case err == nil && ok && n == 0 && !zero:
		return 0, fmt.Errorf("must be more than 0, got %s", show(in))
	case err != nil || !ok || n < 0 || n > math.MaxInt64/unit:
		return 0, fmt.Errorf(`must be a size with a unit, B, KB, MB or GB, as "35MB", got %s`, show(in))
	}
	return n * unit, nil
}

// number reads a whole number of at least min, or 0 where there is no min.
func number(in any, atLeast string) (int, error) {
	least, _ := strconv.ParseInt(atLeast, 10, 64)
	n, ok := in.(int64)
	if !ok || n < least || n > math.MaxInt32 {
		return 0, fmt.Errorf("must be a whole number, at least %d, got %s", least, show(in))
	}
	return int(n), nil
}

// yesNo reads true or false.
func yesNo(in any) (bool, error) {
	b, ok := in.(bool)
	if !ok {
		return false, fmt.Errorf("must be true or false, got %s", show(in))
	}
	return b, nil
}

// text reads a string that is not empty, one of the words of oneOf where there are any.
func text(in any, oneOf string) (string, error) {
	s, ok := in.(string)
	if words := strings.Fields(oneOf); len(words) > 0 {
		if !slices.Contains(words, s) {
			last := len(words) - 1
			return "", fmt.Errorf("must be %s or %s, got %s", strings.Join(words[:last], ", "), words[last], show(in))
		}
		return s, nil
	}
	if !ok || s == "" {
		return "", fmt.Errorf("must be a text, got %s", show(in))
	}
	if strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("must not have NUL in it, got %s", show(in))
	}
	return s, nil
}

// prefix reads "192.0.2.0/24", or a single address.
func prefix(in any) (netip.Prefix, error) {
	s, _ := in.(string)
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf(`must be a network, as "192.0.2.0/24" or "2001:db8::/32", got %s`, show(in))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("has bits set beyond its length: %s would be %s", s, p.Masked())
	}
	return p, nil
}
