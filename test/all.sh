#!/usr/bin/env bash
# `make test`: every check there is, cheapest first, all of them even if one fails; a table at the end.
set -uo pipefail
cd "$(dirname "$0")/.."
names=() results=() seconds=()
bad=0
step() {
  local name=$1; shift
  printf '\n=== %s\n' "$name"
  local begin=$SECONDS
  if "$@"; then results+=(ok); else results+=(FAILED); bad=1; fi
  names+=("$name"); seconds+=($((SECONDS - begin)))
}

step build go build -o bin/pgproxy ./cmd/pgproxy
step lint make -s lint
step tidy make -s tidy
step unit make -s unit
step race make -s race-small
step harness go test -timeout 5m ./test/harness/... ./test/workload/... ./test/faultnet/...
step pgtest make -s pgtest
step cluster make -s cluster
step load go test -count=1 -timeout 10m -run TestLoad ./test/cluster/...
step crash go test -count=1 -timeout 45m -run TestCrash ./test/cluster/...

printf '\n'
for i in "${!names[@]}"; do printf '%-8s %-7s %4d s\n' "${names[$i]}" "${results[$i]}" "${seconds[$i]}"; done
printf '%-8s %-7s %4d s\n' all "$([ $bad = 0 ] && echo ok || echo FAILED)" "$SECONDS"
exit $bad
