# The commands of this project. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
TOOLS := sipp sipsak baresip svmap svwar svcrack openssl socat dnsmasq valgrind dbus-daemon
PACKAGES := sip-tester sipsak baresip-core sipvicious openssl socat dnsmasq-base valgrind dbus-daemon
# For the browser's side of SIP; another Node.js than Debian's is as good.
NODE_TOOLS := node npm
NODE_PACKAGES := nodejs npm
# For the web page in a real browser.
PAGE_TOOLS := chromium chromedriver
PAGE_PACKAGES := chromium chromium-driver fonts-dejavu-core
FUZZ_S := 60

.PHONY: help build pgo demo check lint test bench instructions instructions-update deny deps fuzz compare overload

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## the release binary, target/release/pointsman
	cargo build --release

pgo: ## the same, laid out by a profile of its own calls: target/pgo/pointsman
	benches/pgo/run

demo: ## calls to colleagues in each status, over real SIP on loopback
	cargo run --release -- demo

check: lint ## formatting, clippy, documentation, dependencies, and the tests that need no peer
	cargo test --locked

lint: ## formatting, clippy, documentation, dependencies: what CI checks first
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked
	$(MAKE) deny

deny: ## licences, bans and sources of all dependencies
	@command -v cargo-deny >/dev/null || { \
	  echo "cargo-deny is missing; installing it with cargo"; cargo install cargo-deny --locked --quiet; }
	cargo deny check bans licenses sources

deps: ## the programs that the tests with real peers and browsers need (Debian packages)
	@missing_of() { for tool in "$$@"; do \
	    PATH="$$PATH:/usr/sbin:/sbin" command -v $$tool >/dev/null || printf ' %s' $$tool; done; }; \
	may_install() { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; }; \
	install() { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends "$$@" >/dev/null; }; \
	missing="$$(missing_of $(TOOLS) $(PAGE_TOOLS))"; \
	if [ -n "$$missing" ]; then \
	  may_install || { echo "the tests with real peers need:$$missing"; \
	    echo "install them first: sudo apt-get install $(PACKAGES) $(PAGE_PACKAGES)"; exit 1; }; \
	  echo "installing $(PACKAGES) $(PAGE_PACKAGES) for the tests with real peers (missing:$$missing)"; \
	  install $(PACKAGES) $(PAGE_PACKAGES) || exit 1; \
	fi; \
	missing="$$(missing_of $(NODE_TOOLS))"; \
	if [ -n "$$missing" ]; then \
	  if may_install; then echo "installing $(NODE_PACKAGES) (missing:$$missing)"; install $(NODE_PACKAGES); fi; \
	  [ -z "$$(missing_of $(NODE_TOOLS))" ] || \
	    echo "without$$missing the tests with a browser's SIP client are left out: apt-get install $(NODE_PACKAGES)"; \
	fi

test: deps ## all tests, with real peers; installs what they need when it may
	cargo build --locked
	POINTSMAN_REAL_PEERS=1 cargo test --locked

bench: ## the criterion benches; benches/README.md has figures
	cargo bench

compare: ## pointsman and Kamailio in turn on one core: a table and a page in target/compare
	benches/compare/run

overload: ## how many calls go through at 2 and 10 times the capacity
	benches/overload/run

instructions: ## instructions and allocations of the hot parts, against benches/instructions.tsv
	@command -v valgrind >/dev/null || { echo "valgrind is missing: make deps installs it"; exit 1; }
	cargo bench --locked --bench instructions

instructions-update: ## writes what they are now to benches/instructions.tsv
	cargo bench --locked --bench instructions -- --update

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
