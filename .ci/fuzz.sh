#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each, one on each processor.
set -euo pipefail
cd "$(dirname "$0")/.."
export time=${1:-20s} GO=${GO:-go}

targets() {
  git grep -l '^func Fuzz' -- '*_test.go' ':!bench' | while read -r file; do
    sed -n "s,^func \(Fuzz[A-Za-z0-9_]*\).*,./$(dirname "$file") \1,p" "$file"
  done
}

# ranOut: the time was over and nothing was found. Go before 1.27 may call that a failure on a busy machine
# (go.dev/issue/75804): then this one line stands below FAIL, and no input was written.
ranOut() { # what go test said
  [ "$(sed -n '/^--- FAIL/,/^FAIL/p' <<<"$1" | sed '1d;$d' | tr -d ' ')" = contextdeadlineexceeded ]
}
export -f ranOut

one() { # package target
  local said
  if said=$($GO test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -parallel 1 "$1" </dev/null 2>&1) || ranOut "$said"; then
    printf 'fuzz: %s %s: %s\n' "$1" "$2" "$(grep '^fuzz: ' <<<"$said" | tail -n 1 | cut -c 7-)"
  else
    printf 'fuzz: %s %s FAILED\n%s\n' "$1" "$2" "$said"
    return 1
  fi
}
export -f one

# A target that fails does not keep the others from being tried; xargs then ends with 123.
targets | xargs -P "$(nproc)" -L 1 bash -c 'one "$@"' one
