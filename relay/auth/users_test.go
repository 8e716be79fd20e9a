package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Hashes that are cheap to check. The passwords are "secret" and, of carol, "pencil" (RFC 7677 §3).
var (
	cheap   = cheapArgon2id("secret").String()
	pencil  = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	secret  = []byte("for stand-ins")
	twoBoth = "alice " + cheap + " " + cheapScram("secret").String() + "\ncarol " + pencil + "\n"
)

func cheapArgon2id(password string) *argon2id {
	a := &argon2id{memory: 64, passes: 1, threads: 1, salt: []byte("0123456789abcdef"), key: make([]byte, 32)}
	a.key = a.hash(password)
	return a
}

func cheapScram(password string) *scramKey {
	k := &scramKey{iterations: 4096, salt: []byte("fedcba9876543210")}
	k.stored, k.server = k.derive(password)
	return k
}

func parse(t testing.TB, text string) *Users {
	t.Helper()
	u, err := Parse([]byte(text), secret)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestVerify(t *testing.T) {
	u := parse(t, "# who may send\r\n\r\n"+twoBoth+"\tDave@Example.org \t "+cheap+"\nß "+cheap)
	for _, tt := range []struct{ user, password, want string }{
		{"alice", "secret", "alice"},
		{"ALICE", "secret", "alice"},
		{"dave@example.org", "secret", "Dave@Example.org"},
		{"carol", "pencil", "carol"},
		{"ali\u00adce", "secret", "alice"}, // SASLprep: a soft hyphen is nothing
		{"ß", "secret", "ß"},
		{"alice", "se\u00adcret", "alice"},
		{"alice", "Secret", ""},
		{"alice", "", ""},
		{"alice", "\u00ad", ""},
		{"alice", "secret\x00", ""},
		{"alice", strings.Repeat("x", maxPassword+1), ""},
		{"carol", "secret", ""},
		{"bob", "secret", ""},
		{"", "secret", ""},
		{"\xff", "secret", ""},
		{strings.Repeat("x", maxUser+1), "secret", ""},
		{"alice ", "secret", ""},
		{"#", "secret", ""},
	} {
		got, more, err := u.Verify(context.Background(), Attempt{User: tt.user, Password: tt.password})
		if got != tt.want || more != nil || (err != nil) != (tt.want == "") || err != nil && !errors.Is(err, ErrCredentials) {
			t.Errorf("%q with %.20q: %q, %v, want %q", tt.user, tt.password, got, err, tt.want)
		}
	}
}

// The vector is that of the reference implementation.
func TestArgon2id(t *testing.T) {
	const known = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	a, err := parseArgon2id(known)
	if err != nil {
		t.Fatal(err)
	}
	if a.String() != known || !a.matches("password") || a.matches("Password") {
		t.Errorf("%s does not stand for its password alone", a)
	}
}

func TestHash(t *testing.T) {
	h, err := Hash("pässword", true)
	if err != nil {
		t.Fatal(err)
	}
	u := parse(t, h.Line("alice"))
	if got, _, err := u.Verify(context.Background(), Attempt{User: "alice", Password: "pa\u0308ssword"}); got != "alice" || err != nil {
		t.Errorf("Verify = %q, %v", got, err)
	}
	if again, _ := Hash("pässword", true); again == h {
		t.Error("two hashes have one salt")
	}
	if _, err := Hash("", false); err == nil {
		t.Error("an empty password is hashed")
	}
	for _, bad := range []string{"tab\there", "\xff", "\u00ad", strings.Repeat("x", maxPassword+1)} {
		if _, err := Hash(bad, false); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("Hash(%.20q) = %v", bad, err)
		}
	}
}

func TestBadUsersFiles(t *testing.T) {
	key := strings.Repeat("A", 43)
	argon := func(cost string) string { return "a $argon2id$v=19$" + cost + "$AAAAAAAAAAAAAAAA$" + key }
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"0: has no user in it; relay hash-password --user NAME prints a line for it"}},
		{"comments only", "# nobody\n \n", []string{"0: has no user in it; relay hash-password --user NAME prints a line for it"}},
		{"no hash", "a\nb " + cheap, []string{"1: has no hashed password: must be a name, a space, and what relay hash-password prints"}},
		{"in the clear", "a hunter2", []string{"1: what follows the name must begin with $argon2id$ or SCRAM-SHA-256$, as relay hash-password prints it"}},
		{"as in passwd", "a:" + cheap, []string{"1: has no hashed password: must be a name, a space, and what relay hash-password prints"}},
		{"other hash", "a $argon2i$v=19$m=8,t=1,p=1$AAAA$AAAA", []string{"1: what follows the name must begin with $argon2id$ or SCRAM-SHA-256$, as relay hash-password prints it"}},
		{"comment behind", "a " + cheap + " # mine", []string{"1: what follows the name must begin with $argon2id$ or SCRAM-SHA-256$, as relay hash-password prints it"}},
		{"twice", "a " + cheap + "\n\nA " + cheap, []string{"3: is the same user as on line 1 (upper and lower case are the same)"}},
		{"two of a kind", "a " + cheap + " " + cheap, []string{"1: has two argon2id passwords"}},
		{"two keys", "a " + pencil + " " + pencil, []string{"1: has two SCRAM-SHA-256 keys"}},
		{"no UTF-8", "\xff " + cheap, []string{"1: is not UTF-8"}},
		{"long line", "a " + strings.Repeat("x", maxLine), []string{fmt.Sprintf("1: is longer than %d octets", maxLine)}},
		{"long name", strings.Repeat("n", 256) + " " + cheap, []string{"1: the name is longer than 255 octets"}},
		{"control character", "a\x01 " + cheap, []string{"1: the name has a character that SASLprep (RFC 4013) does not allow: a control character, one newer than Unicode 3.2, or a mix of right-to-left and left-to-right"}},
		{"nothing to see", "\u00ad " + cheap, []string{"1: the name has nothing in it that can be seen"}},
		{"memory", argon("m=4194304,t=1,p=1"), []string{"1: argon2id: m must be from 8·p to 131072 (KiB)"}},
		{"no memory", argon("m=7,t=1,p=1"), []string{"1: argon2id: m must be from 8·p to 131072 (KiB)"}},
		{"work", argon("m=131072,t=5,p=1"), []string{"1: argon2id: m·t must not be more than 524288 (KiB)"}},
		{"passes", argon("m=8,t=0,p=1"), []string{"1: argon2id: t must be from 1 to 64"}},
		{"threads", argon("m=8192,t=1,p=255"), []string{"1: argon2id: p must be from 1 to 16"}},
		{"overflow", argon("m=99999999999999999999,t=1,p=1"), []string{"1: argon2id: the cost must be m=…,t=…,p=…, in this order"}},
		{"order", argon("t=1,m=8,p=1"), []string{"1: argon2id: the cost must be m=…,t=…,p=…, in this order"}},
		{"version", "a $argon2id$v=16$m=8,t=1,p=1$AAAAAAAAAAA$" + key, []string{"1: argon2id: the version must be v=19"}},
		{"no version", "a $argon2id$m=8,t=1,p=1$AAAAAAAAAAA$" + key, []string{"1: argon2id: must be $argon2id$v=19$m=…,t=…,p=…$salt$key"}},
		{"salt", "a $argon2id$v=19$m=8,t=1,p=1$AA$" + key, []string{"1: argon2id: the salt must be from 8 to 64 octets, in base64"}},
		{"no base64", "a $argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$!!!!", []string{"1: argon2id: the key is not base64"}},
		{"iterations", "a SCRAM-SHA-256$1000:AAAAAAAAAAA=$x:y", []string{"1: SCRAM-SHA-256: the iterations must be from 4096 to 1000000"}},
		{"many iterations", "a SCRAM-SHA-256$100000000:AAAAAAAAAAA=$x:y", []string{"1: SCRAM-SHA-256: the iterations must be from 4096 to 1000000"}},
		{"StoredKey", "a SCRAM-SHA-256$4096:AAAAAAAAAAA=$AAAA:y", []string{"1: SCRAM-SHA-256: the StoredKey must be from 32 to 32 octets, in base64"}},
		{"shape", "a SCRAM-SHA-256$4096", []string{"1: SCRAM-SHA-256: must be SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey"}},
		{"all at once", "a\nb hunter2\nc " + cheap + "\nC " + cheap, []string{
			"1: has no hashed password: must be a name, a space, and what relay hash-password prints",
			"2: what follows the name must begin with $argon2id$ or SCRAM-SHA-256$, as relay hash-password prints it",
			"4: is the same user as on line 3 (upper and lower case are the same)",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := Parse([]byte(tt.text), secret)
			var problems Problems
			if u != nil || !errors.As(err, &problems) {
				t.Fatalf("Parse = %v, %v", u, err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, fmt.Sprintf("%d: %s", p.Line, p.Text))
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a password is in %v", err)
			}
		})
	}
}

func TestProblemsAndUsersAreBounded(t *testing.T) {
	var problems Problems
	if _, err := Parse([]byte(strings.Repeat("a\n", 10*maxProblems)), secret); !errors.As(err, &problems) || len(problems) > maxProblems+2 {
		t.Errorf("%d problems", len(problems))
	}
	if _, err := Parse(make([]byte, maxFile+1), secret); err == nil {
		t.Error("a file that is too large is read")
	}
	var many strings.Builder
	for i := range maxUsers + 2 {
		fmt.Fprintf(&many, "u%d %s\n", i, cheap)
	}
	if _, err := Parse([]byte(many.String()), secret); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too many users: %v", err)
	}
}

// A user who does not exist costs what one who does would, and the same one each time.
func TestStandIns(t *testing.T) {
	u := parse(t, twoBoth)
	seen := map[string]bool{}
	for i := range 50 {
		name := fmt.Sprint("nobody", i)
		who, known := u.find(name)
		again, _ := u.find(strings.ToUpper(name))
		if known || who != again {
			t.Errorf("%s is found as %s, then %s", name, who.name, again.name)
		}
		seen[who.name] = true
		k, known := u.key(name)
		same, _ := u.key(name)
		if known || k.String() != same.String() || len(k.salt) != len(who.scram.salt) || k.iterations != who.scram.iterations {
			t.Errorf("%s has the key %s, then %s", name, k, same)
		}
	}
	if len(seen) != 2 {
		t.Errorf("stand-ins are %v alone", seen)
	}
	other, err := Parse([]byte(twoBoth), []byte("another secret"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := u.key("nobody")
	b, _ := other.key("nobody")
	if string(a.salt) == string(b.salt) {
		t.Error("a salt can be known without the secret")
	}
}

func TestTooManyAtATime(t *testing.T) {
	for range cap(slots) {
		slots <- struct{}{}
	}
	defer func() {
		for range cap(slots) {
			<-slots
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, _, err := parse(t, twoBoth).Verify(ctx, Attempt{User: "alice", Password: "secret"})
	if err == nil || errors.Is(err, ErrCredentials) {
		t.Errorf("Verify = %v", err)
	}
}

func TestCheckUser(t *testing.T) {
	for name, good := range map[string]bool{
		"alice": true, "alice@example.org": true, "a b": false, "": false, "#a": false, "a\tb": false, "a\n": false, "\x01": false,
		strings.Repeat("x", 256): false,
	} {
		if err := CheckUser(name); (err == nil) != good {
			t.Errorf("CheckUser(%q) = %v", name, err)
		}
	}
}

func TestExposed(t *testing.T) {
	path := t.TempDir() + "/users"
	if err := os.WriteFile(path, []byte(twoBoth), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: "can be read by everybody (mode 0644)", 0o660: "can be changed by others (mode 0660)"} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got := Exposed(path); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("mode %04o: %q", mode, got)
		}
	}
}

func FuzzUsers(f *testing.F) {
	for _, s := range []string{twoBoth, "# a\n\n" + cheap, "a hunter2", "a $argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAA", "a SCRAM-SHA-256$4096:AAAA$:"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := Parse(data, secret)
		if err != nil {
			if err.Error() == "" || u != nil {
				t.Error(err)
			}
			return
		}
		// What was read means the same when it is written.
		var again strings.Builder
		for _, w := range u.users {
			again.WriteString(w.name)
			if w.argon != nil {
				if w.argon.memory > maxArgonMemory {
					t.Error("too much memory")
				}
				again.WriteString(" " + w.argon.String())
			}
			if w.scram != nil {
				again.WriteString(" " + w.scram.String())
			}
			again.WriteString("\n")
			if who, known := u.find(w.name); !known || who.name != w.name {
				t.Errorf("%q is not found", w.name)
			}
		}
		v, err := Parse([]byte(again.String()), secret)
		if err != nil || v.Len() != u.Len() || v.scram != u.scram {
			t.Errorf("%q: %v", again.String(), err)
		}
	})
}

// Cyrus SASL computes no more than these, and Postfix then cannot log in.
func TestScramIterationsAreNotTooManyForCyrusSASL(t *testing.T) {
	h, err := Hash("secret", true)
	if err != nil {
		t.Fatal(err)
	}
	key, err := parseScramKey(h.Scram)
	if err != nil {
		t.Fatal(err)
	}
	if key.iterations > 0x10000 {
		t.Errorf("%d iterations, want 65536 at most", key.iterations)
	}
}
