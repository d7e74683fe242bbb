# outlast: `make demo` shows it, `make test` checks it. Both set up what they need in .venv.
PYTHON ?= python3
MINUTES ?= 30
# Tests wait more than they compute: JOBS may be more than there are cores.
JOBS ?= 6
SEED ?= $(shell date +%s)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK := requirements/dev.txt
TOOLS := requirements/build.txt
INSTALL := $(BIN)/python -m pip install --quiet --no-compile
CARRIED := src/outlast/features/bundle/carried/requirements.txt
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
UNIT := $(addprefix tests/,codec core docs fetch hostile hubsim intake node p2p sim sources store)

# Python keeps what it compiles: each worker and each process of a test would compile anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo check test torture lint format docs bench bench-audit bench-codec bench-durability bench-gateway bench-lineage bench-sim bench-swarm bench-trust bench-tune bench-watch fuzz mutants lock clean

help:
	@echo "make demo    run the main job on a real model"
	@echo "make check   lint, types, layers and the unit tests"
	@echo "make test    lint, types, layers and all tests"
	@echo "make lint    ruff, mypy, import-linter, and our own: what nothing calls, rooms, words"
	@echo "make torture the tests that search at random, for hours, from SEED=7"
	@echo "make docs    write anew what the code says in docs/: cli, errors, json, settings"
	@echo "make bench   measure ours and the peers side by side"
	@echo "make bench-audit  how often audits are right, and what they cost"
	@echo "make bench-codec  the same for capsules and the peers' codecs"
	@echo "make bench-durability  bundles, scrub, parity, checked serving, and backup programs"
	@echo "make bench-gateway  what the gateway adds to requests, beside nginx and LiteLLM"
	@echo "make bench-lineage  finding a model's base among 1,000"
	@echo "make bench-sim  simulated swarms of up to 100,000 nodes: docs/simulation.md"
	@echo "make bench-swarm  the same for the swarm, in network namespaces; needs root"
	@echo "make bench-trust  what claims, catalogues, rules and screening cost"
	@echo "make bench-tune  what tuning, merging and adapters cost, beside PEFT's own loop"
	@echo "make bench-watch  what watching hubs costs, in simulated days"
	@echo "make fuzz    damaged capsules and containers, MINUTES=30 of them; needs clang"
	@echo "make mutants  break each promise once, and see a test fail"
	@echo "make lock    resolve the dependencies anew"

setup: $(READY)

# The kernels are compiled while all else is installed. Of that a third is ever imported, and Python
# compiles it then.
$(READY): $(LOCK) $(TOOLS) pyproject.toml $(wildcard native/*)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes -r $(TOOLS)
	@$(INSTALL) --no-deps --no-build-isolation -e . & kernels=$$!; \
	$(INSTALL) --require-hashes -r $(LOCK) || exit 1; \
	wait $$kernels
	touch $(READY)

demo: $(READY)
	$(BIN)/python -m demo

# All parts run, whichever fails. Lint has one core, beside the tests, and is heard after them.
check: $(READY)
	@failed=; \
	$(MAKE) --no-print-directory lint >$(VENV)/lint.txt 2>&1 & lint=$$!; \
	$(PYTEST) -m "not net and not clients and not crash and not sanitizers" $(UNIT) \
		|| failed="$$failed tests"; \
	wait $$lint || failed="$$failed lint"; \
	cat $(VENV)/lint.txt; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

# Tests are compiled once, while environments are made: each worker would do it for itself.
test: $(READY)
	@failed=; \
	$(MAKE) --no-print-directory lint >$(VENV)/lint.txt 2>&1 & lint=$$!; \
	$(BIN)/python -m pytest --collect-only --quiet >$(VENV)/collected.txt 2>&1 & compiled=$$!; \
	$(BIN)/python -m tests.clients.envs || failed="$$failed clients"; \
	wait $$compiled; \
	$(PYTEST) || failed="$$failed tests"; \
	wait $$lint || failed="$$failed lint"; \
	cat $(VENV)/lint.txt; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

torture: $(READY)
	@echo "SEED=$(SEED)"
	OUTLAST_TORTURE=1 OUTLAST_SEED=$(SEED) $(PYTEST) -m torture --hypothesis-seed=$(SEED) \
		--timeout=36000

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.lint
	$(BIN)/python -m docs.generate --check

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m docs.generate

bench: $(READY)
	$(BIN)/python -m bench

bench-audit: $(READY)
	$(BIN)/python -m bench.audit

bench-codec: $(READY)
	$(BIN)/python -m bench.codec

bench-durability: $(READY)
	$(BIN)/python -m bench.durability

bench-gateway: $(READY)
	$(BIN)/python -m bench.gateway

bench-lineage: $(READY)
	$(BIN)/python -m bench.lineage

bench-sim: $(READY)
	$(BIN)/python -m bench.sim

bench-swarm: $(READY)
	$(BIN)/python -m bench.swarm

bench-trust: $(READY)
	$(BIN)/python -m bench.trust

bench-tune: $(READY)
	$(BIN)/python -m bench.tune

bench-watch: $(READY)
	$(BIN)/python -m bench.watch

fuzz: $(READY)
	PATH="$(BIN):$$PATH" $(BIN)/python -m tests.fuzz $(MINUTES)

mutants: $(READY)
	$(BIN)/python -m tests.mutants

lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-package outlast pyproject.toml --extra run --group build --group demo \
		--group test --group lint --output-file $(LOCK)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --constraint $(LOCK) --no-emit-package outlast --group build \
		--output-file $(TOOLS)
	echo pip | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --constraint $(LOCK) --no-emit-package outlast \
		pyproject.toml - --extra run --output-file $(CARRIED)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
