# pgproxy: `make` says what there is. The first two to try: `make demo`, `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Tools are pinned here and run through the module cache, so that go.mod holds only what the program needs.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

GO      ?= go
SEED    ?=
ROUNDS  ?=
FUZZTIME ?= 20s
# What the race detector runs on in `make test`: everything that does not pull in the SQL parser, whose C code would have
# to be compiled a second time (`make race` does it all).
RACED   := ./journal/... ./audit/... ./forward/... ./test/faultnet/... ./test/workload/...
export PGPROXY_SEED := $(SEED)
export PGPROXY_ROUNDS := $(ROUNDS)
export CGO_ENABLED := 1
REAL    := $(GO) test -count=1 -timeout 30m

help: ## this list
	@echo "make TARGET   (SEED=n replays a seeded test, ROUNDS=n says how many)"
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing: C compiler, PostgreSQL of the distribution, PostgreSQL 18
	@test/setup.sh

build: setup ## bin/pgproxy
	$(GO) build -o bin/pgproxy ./cmd/pgproxy

demo: build ## three databases, three proxies, a partition and its end, in a minute
	bin/pgproxy demo $(DEMO)

test: setup ## everything, with real servers; what .ci/run calls
	@test/all.sh

unit: setup ## the rooms' own tests, fuzz seeds included
	$(GO) test -timeout 25m $$($(GO) list ./... | grep -v /test/)

race: setup ## the rooms' own tests under the race detector
	$(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v -e /test/cluster -e /test/bench -e /test/drivers)

# Races do not depend on the server's version, and few rounds show them.
race-small: setup
	PGPROXY_TEST_PG=18 PGPROXY_ROUNDS=2 $(GO) test -race -timeout 25m $(RACED)

fuzz: setup ## every fuzz test for FUZZTIME (20s)
	@test/fuzz.sh $(FUZZTIME)

pgtest: setup ## conversations: the same frames directly and through the proxy
	$(REAL) ./test/pgtest/...

capture: setup ## every kind of write: the peer, and the journal against history triggers
	$(REAL) ./test/capture/...

capture-fuzz: setup ## the same for long: STATEMENTS=200000, SEED=n replays
	PGPROXY_STATEMENTS=$${STATEMENTS:-200000} $(REAL) -timeout 24h -v ./test/capture/...

cluster: setup ## three nodes: partitions, topologies, conflicts, bad input, clients
	$(REAL) -skip 'TestCrash|TestLoad' ./test/cluster/...

crash: setup ## kill -9 at every fault point, seeded rounds
	$(REAL) -v -run 'TestCrash' ./test/cluster/...

load: setup ## pgbench on three nodes at once, 30 s a mode, a link down in the middle
	PGPROXY_LOAD_SECONDS=30 $(REAL) -v -run 'TestLoad' ./test/cluster/...

soak: setup ## crash rounds for hours: ROUNDS=2000
	PGPROXY_ROUNDS=$${PGPROXY_ROUNDS:-2000} $(GO) test -count=1 -timeout 24h -v -run 'TestCrash' ./test/cluster/...

memory: setup ## a COPY and an UPDATE of a million rows over three nodes, two of them killed: what each proxy has had resident
	PGPROXY_MEMORY_ROWS=1000000 $(GO) test -count=1 -v -timeout 60m -run 'TestMemory$$' ./test/cluster/...

bench: ## direct : PgBouncer : pgproxy, drain, memory; BENCH=-quick for a look
	@test/setup.sh bench
	$(GO) run ./test/bench $(BENCH)

profile: setup ## where a proxy's time goes under pgbench; profiles in bin/profiles
	$(GO) run ./test/bench -only profile $(BENCH)

drivers: setup ## pgx's and lib/pq's own tests, direct and through the proxy
	$(REAL) -v ./test/drivers/...

large: setup ## what only passes through costs no memory: a gigabyte in a value, millions of rows, 100,000 statements
	PGPROXY_LARGE=1 $(REAL) -v -run TestLargePasses ./test/cluster/...

lint: setup ## gofmt, go vet, staticcheck, govulncheck
	@test/lint.sh $(STATICCHECK) $(GOVULNCHECK)

tidy: ## the rules of the house
	$(GO) test -count=1 ./test/tidy/...

clean: ## remove what was built (not the downloads in .cache)
	rm -rf bin

.PHONY: capture capture-fuzz help setup build demo test unit race race-small fuzz pgtest cluster crash load soak memory bench profile drivers large lint tidy clean
