package agents

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"example.org/relay/relay/event"
)

// asGranted lets an agent have what it has had of what it asks for.
func asGranted(e *Entry) error {
	e.Granted &= e.Described.Asks
	return nil
}

// installNotes say what an agent sees and may do, before it does.
func installNotes(e *Entry) (notes []string) {
	notes = append(notes, fmt.Sprintf("Agent %s is shown %s.", e.Name, shownText(e.Described)))
	if e.Granted != 0 {
		what := "is granted what it asks for"
		if e.Granted != e.Described.Asks {
			what = "is granted of what it asks for"
		}
		notes = append(notes, fmt.Sprintf("Agent %s %s: %s.", e.Name, what, meanings(e.Granted)))
	}
	if k := lateRecipients(e); k != 0 {
		notes = append(notes, fmt.Sprintf("Agent %s changes recipients up to %s: with recipient_check = \"auto\" they are verified after that.", e.Name, k))
	}
	if withheld := e.Described.Asks &^ e.Granted; withheld != 0 {
		notes = append(notes, fmt.Sprintf("Agent %s is not granted: %s. What it does without is refused.", e.Name, meanings(withheld)))
	}
	return append(notes, scriptNote(e)...)
}

// changeNotes say in what a changed agent is another, and what it would have granted.
func changeNotes(old, now *Entry) (notes []string) {
	if added := now.Described.Asks &^ old.Described.Asks &^ now.Granted; added != 0 {
		notes = append(notes, fmt.Sprintf("Agent %s asks for more than before, which it is not granted: %s. To grant it: relay set-agent %s --grant %s --transport-service %s",
			now.Name, meanings(added), now.Name, strings.Join(added.List(), ","), now.Service))
	}
	if gone := old.Granted &^ now.Described.Asks; gone != 0 {
		notes = append(notes, fmt.Sprintf("Agent %s does not ask for %s any more.", now.Name, strings.Join(gone.List(), ", ")))
	}
	if was, is := shownText(old.Described), shownText(now.Described); was != is {
		notes = append(notes, fmt.Sprintf("Agent %s is shown %s; before it was %s.", now.Name, is, was))
	}
	if was, is := lateRecipients(old), lateRecipients(now); was != is {
		note := fmt.Sprintf("Agent %s changes recipients up to %s: with recipient_check = \"auto\" they are verified after that.", now.Name, is)
		if is == 0 {
			note = fmt.Sprintf("Agent %s changes no recipients after %s any more: with recipient_check = \"auto\" they can be verified there.", now.Name, event.RcptCommand)
		}
		notes = append(notes, note)
	}
	if old.Described.Asks == now.Described.Asks && old.Granted != now.Granted {
		notes = append(notes, fmt.Sprintf("Agent %s is granted: %s.", now.Name, cmp.Or(meanings(now.Granted), "nothing")))
		if withheld := now.Described.Asks &^ now.Granted; withheld != 0 {
			notes = append(notes, fmt.Sprintf("Agent %s is not granted: %s. What it does without is refused.", now.Name, meanings(withheld)))
		}
	}
	if old.SHA256 != now.SHA256 {
		notes = append(notes, scriptNote(now)...)
	}
	return notes
}

// confineNotes say how what was asked for is enforced, and what has no effect.
func confineNotes(i *Info, asked *Confinement) (notes []string) {
	if asked.Sessions.Made || asked.Memory.Made || asked.Processor.Made || asked.Processes.Made {
		notes = append(notes, i.Limits...)
	}
	if asked.User.Made || asked.ReadOnly.Made {
		notes = append(notes, i.Sandbox...)
	}
	if len(i.Confine.ReadPaths) > 0 && !value(i.Confine.ReadOnly) && (asked.ReadPaths != nil || asked.ReadOnly.Made) {
		notes = append(notes, fmt.Sprintf("Agent %s is not read-only, so that its read paths mean nothing; to make it so: --read-only", i.Name))
	}
	return notes
}

// lateRecipients is when the agent is the last time to change recipients, if it may at all; 0
// where it does not after RCPT.
func lateRecipients(e *Entry) event.Kind {
	if !e.Granted.Has(event.ChangeRecipients) {
		return 0
	}
	return e.Described.ChangesRecipientsAt
}

// meanings are the permissions with what each of them is.
func meanings(p event.Permissions) string {
	var all []string
	for one := event.ReadHeaders; one < event.NumPermissions; one++ {
		if p.Has(one) {
			all = append(all, fmt.Sprintf("%s (%s)", one, one.Meaning()))
		}
	}
	return strings.Join(all, ", ")
}

// shownText names the events: "OnMailCommand, OnDisconnect (watches)".
func shownText(d Described) string {
	var all []string
	for _, k := range event.Kinds() {
		i := slices.IndexFunc(d.Subscriptions, func(s event.Subscription) bool { return s.Kind == k })
		switch {
		case i < 0:
		case d.Subscriptions[i].Notify:
			all = append(all, k.String()+" (watches)")
		default:
			all = append(all, k.String())
		}
	}
	return strings.Join(all, ", ")
}

// scriptNote says what the pin of a script does not cover.
func scriptNote(e *Entry) []string {
	f, err := os.Open(e.Path)
	if err != nil {
		return nil
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadSlice('\n')
	interpreter, script := strings.CutPrefix(string(line), "#!")
	if err != nil || !script {
		return nil
	}
	return []string{fmt.Sprintf("%s is a script for %s: its SHA-256 covers neither that nor what it imports.", e.Path, oneLine(strings.TrimSpace(interpreter), 100))}
}
