#!/usr/bin/env bash
# `make test`: every check there is, all of them even if one fails; a table at the end. After the quick ones, two lanes run side
# by side, because most of what a scenario does is waiting. What a step prints is shown when it ends.
set -uo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: > "$work/table"

# step NAME COMMAND...: runs it, and notes how it ended and how long it took.
step() {
  local name=$1; shift
  local begin=$SECONDS result=ok
  "$@" > "$work/$name.log" 2>&1 </dev/null || result=FAILED
  {
    flock 9
    printf '\n=== %s\n' "$name"
    cat "$work/$name.log"
    printf '%-8s %-7s %4d s\n' "$name" "$result" $((SECONDS - begin)) | tee -a "$work/table"
  } 9> "$work/lock"
}

scenarios() {
  step cluster make -s cluster
  step load go test -count=1 -timeout 20m -run TestLoad ./test/cluster/...
  step crash go test -count=1 -timeout 45m -run TestCrash ./test/cluster/...
}

rooms() {
  step unit make -s unit
  step harness go test -timeout 10m ./test/harness/... ./test/workload/... ./test/faultnet/...
  step pgtest make -s pgtest
  step capture make -s capture
  step race make -s race-small
}

step build go build -o bin/pgproxy ./cmd/pgproxy
step lint make -s lint
step tidy make -s tidy
scenarios & rooms & wait

printf '\n'
cat "$work/table"
bad=$(grep -c FAILED "$work/table")
printf '%-8s %-7s %4d s\n' all "$([ "$bad" = 0 ] && echo ok || echo FAILED)" "$SECONDS"
[ "$bad" = 0 ]
