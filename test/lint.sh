#!/usr/bin/env bash
# gofmt, go vet, staticcheck, govulncheck; the tools as pinned in the Makefile.
#   test/lint.sh STATICCHECK@VERSION GOVULNCHECK@VERSION
set -uo pipefail
cd "$(dirname "$0")/.."
bad=0
step() { printf '%s\n' "lint: $1" >&2; }

step gofmt
unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l)
if [ -n "$unformatted" ]; then echo "not formatted:"; echo "$unformatted"; bad=1; fi
step "go vet"
go vet ./... || bad=1
go vet -tags faults ./... || bad=1
step staticcheck
go run "$1" ./... || bad=1
step govulncheck
# The database of vulnerabilities is on the network. Where it cannot be reached, that is said, and is no failure: the code
# has not changed by it.
out=$(go run "$2" ./... 2>&1); code=$?
if [ $code = 3 ]; then echo "$out"; bad=1
elif [ $code != 0 ]; then
  if grep -qiE 'vuln.go.dev|dial tcp|no such host|connection refused|timeout|fetching vulnerabilities' <<<"$out"; then
    echo "lint: govulncheck NOT DONE, its database cannot be reached: $(grep -v '^exit status' <<<"$out" | tail -n 1)"
  else echo "$out"; bad=1; fi
fi
exit $bad
