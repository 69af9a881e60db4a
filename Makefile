# Every target makes .venv by itself and makes it again when pyproject.toml or constraints.txt change.
# Another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PYTEST := $(BIN)/python -m pytest -q -n 2 --benchmark-disable

# One thread a process: several run at a time, and a fixed number of threads is what makes numbers repeat.
export OMP_NUM_THREADS := 1

.PHONY: demo test test-slow test-all test-long lint speed precision peers flower catalogue golden pages screenshots picture
.DEFAULT_GOAL := test

DEMO := $(BIN)/fedsynth run -m experiment=demo hydra/launcher=joblib hydra.launcher.n_jobs=2
demo: $(READY)
	$(DEMO) method=local,fedavg,fedbn,fedmri network=resnet
	$(DEMO) method=local,pflsynth,pooled network=personalised network.init=scaled
	$(BIN)/fedsynth leaderboard
	$(BIN)/fedsynth report

# Each says at its end what CPU time it took; CONTRIBUTING.md has what they may take.
test: $(READY)
	$(PYTEST) -m "not slow and not long and not gpu"

test-slow: $(READY)
	$(PYTEST) -m "(slow or gpu) and not long"

test-all: test test-slow

# What CI has no room for: simulations of error rates, every method under every condition, sweeps on a SLURM (as root, with the
# packages that tests/support/slurm.py names).
test-long: $(READY)
	$(PYTEST) -m long

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

speed: $(READY)
	$(BIN)/python -m pytest -q benchmarks/speed --benchmark-only --benchmark-json .benchmarks/speed.json

# Three methods with five seeds, compiled and eagerly, and where the CPU has it in bf16: do they score alike?
PRECISION := $(BIN)/fedsynth run -m experiment=demo method=local,fedavg,pflsynth seed=1,2,3,4,5 network=personalised network.init=scaled
precision: $(READY)
	$(PRECISION) trainer.execution=eager,compiled --results .benchmarks/precision
	if $(BIN)/python -c 'import sys, torch; from fedsynth.runtime.device import has_bf16; sys.exit(not has_bf16(torch.device("cpu")))'; \
		then $(PRECISION) trainer.execution=compiled trainer.precision=bf16 --results .benchmarks/precision; fi
	$(BIN)/python -m fedsynth.benchmarks.speed.same_scores .benchmarks/precision

# A round of ours in turns with other engines', each in an environment of its own under .peers/ (a gigabyte each).
PEERS := flower fluke pfl_research
peers: $(READY) $(PEERS:%=.peers/%/.ready)
	$(BIN)/python -m fedsynth.benchmarks.speed.peers.compare

.peers/%/.ready: benchmarks/speed/peers/requirements-%.txt
	$(PYTHON) -m venv .peers/$*
	.peers/$*/bin/python -m pip install -q -r $<
	@touch $@

# Flower, whose bounds of versions ours do not meet: an environment of its own, in which a run of hospitals is tried.
flower: .flower/.ready
.flower/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .flower
	grep -vE '^(packaging|protobuf|rich)==' constraints.txt > .flower/constraints.txt
	.flower/bin/python -m pip install -q -e '.[flower]' -c .flower/constraints.txt
	@touch $@

catalogue: $(READY)
	$(BIN)/python -m fedsynth.benchmarks.contract.catalogue docs/catalogue.md

golden: $(READY)
	$(BIN)/python tests/support/golden.py

# Of the demo, or of another store: make screenshots RESULTS=results/scarce
RESULTS ?= results
screenshots: $(READY)
	$(BIN)/python tests/support/screenshots.py $(RESULTS) $(RESULTS)/screenshots

# docs/images/report.png, of the same store: make demo picture
picture: $(READY)
	$(BIN)/python tests/support/screenshots.py $(RESULTS) docs/images/report.png

# Every published table, and the sentences of README and of the pages beside the tables, from the records.
PUBLISHED := $(sort $(patsubst %/,%,$(dir $(wildcard results/*/records*.zip))))
pages: $(READY)
	for table in $(PUBLISHED); do $(BIN)/fedsynth leaderboard --results $$table --out $$table || exit 1; done
	$(BIN)/fedsynth records pages README.md results/README.md results/*/README.md

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "FedSynth needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) --version 2>&1`." \
		"Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[sweep,cluster,volumes,tensorboard,test,lint]'
	@touch $@
