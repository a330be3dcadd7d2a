# The commands of this project. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PACKAGES := sip-tester dnsmasq-base
FUZZ_S := 60

.PHONY: help build demo check test bench deny deps fuzz

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## the release binary, target/release/pointsman
	cargo build --release

demo: ## calls to colleagues in each status, over real SIP on loopback
	cargo run --release -- demo

check: ## formatting, clippy, tests, documentation, dependencies: what CI checks first
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo test --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked
	$(MAKE) deny

deny: ## licences, bans and sources of all dependencies
	@command -v cargo-deny >/dev/null || { \
	  echo "cargo-deny is missing; installing it with cargo"; cargo install cargo-deny --locked --quiet; }
	cargo deny check bans licenses sources

deps: ## the programs that the tests with real peers need (Debian packages)
	@missing=""; for tool in sipp dnsmasq; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $(PACKAGES) for the tests with real peers (missing:$$missing)"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(PACKAGES) >/dev/null; \
	  else \
	    echo "the tests with real peers need:$$missing"; \
	    echo "install them first: sudo apt-get install $(PACKAGES)"; exit 1; \
	  fi; \
	fi

test: deps ## all tests, with real peers; installs what they need when it may
	cargo build --locked
	POINTSMAN_REAL_PEERS=1 cargo test --locked

bench: ## the criterion benches; benches/README.md has figures
	cargo bench

fuzz: ## each fuzz target for a minute (FUZZ_S seconds); installs cargo-fuzz when it is missing
	@command -v cargo-fuzz >/dev/null || { \
	  echo "cargo-fuzz is missing; installing it with cargo"; cargo install cargo-fuzz --locked --quiet; }
	@for target in message framing uri headers sequence; do \
	  mkdir -p fuzz/corpus/$$target; \
	  seeds="fixtures/fuzz/$$target"; \
	  case $$target in message|framing) seeds="$$seeds fixtures/messages fixtures/malformed fixtures/torture";; esac; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target $$seeds -- \
	    -max_total_time=$(FUZZ_S) -timeout=10 -rss_limit_mb=2048 -max_len=4096 || exit 1; \
	done
