# Every target makes .venv by itself and makes it again when pyproject.toml or constraints.txt change.
# Another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PYTEST := $(BIN)/python -m pytest -q -n 2 --benchmark-disable

# One thread a process: several run at a time, and a fixed number of threads is what makes numbers repeat.
export OMP_NUM_THREADS := 1

.PHONY: demo test test-slow test-all test-long lint speed precision peers catalogue golden pages screenshots picture smoke
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

# What CI has no room for: simulations of error rates, every method under every condition.
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
	$(BIN)/python tests/support/picture.py $(RESULTS) docs/images/report.png

# The tables under results/smoke, with the records that they are made of: about 170 runs of half a minute and more on a core.
SMOKE := $(BIN)/fedsynth run -m hydra/launcher=joblib hydra.launcher.n_jobs=2
smoke: $(READY)
	$(SMOKE) experiment=as_published --results results/smoke/as_published
	$(SMOKE) experiment=as_published --results results/smoke/as_published method=local,fedavg network=mmgan_unet,unet
	$(SMOKE) experiment=as_published --results results/smoke/as_published method=local network=personalised,switchable_unet
	$(SMOKE) experiment=as_published --results results/smoke/as_published method=fedmm method.curriculum=false
	$(SMOKE) experiment=as_published --results results/smoke/as_published method=fedadam,fedyogi method.eta=0.003
	$(SMOKE) experiment=as_published --results results/smoke/as_published method=fedavgm method.momentum=0.5
	$(SMOKE) experiment=one_network --results results/smoke/equal_footing
	$(SMOKE) experiment=one_network --results results/smoke/equal_footing method=local,fedavg,fedbn,silobn,pflsynth network.norm=batch
	$(SMOKE) experiment=one_network --results results/smoke/equal_footing method=local,fedavg,pflsynth network.condition=none,task
	$(SMOKE) experiment=flaws --results results/smoke/flaws method=pflsynth network.init=designed,released,scaled
	$(SMOKE) experiment=flaws --results results/smoke/flaws method=pflsynth trainer.common_start=false
	$(SMOKE) experiment=flaws --results results/smoke/flaws method=fedavg,fedbn trainer.common_start=true,false
	$(SMOKE) experiment=flaws --results results/smoke/flaws method=fedbn_released
	$(BIN)/fedsynth tune all experiment=smoke '+where_present.network={blocks: 3, pools: 2, latent: 64, dropout: 0.0}' \
		network.init=scaled --results results/smoke/tuned --trials 3 --jobs 2
	for table in as_published equal_footing flaws tuned; do \
		$(BIN)/fedsynth records publish smoke/$$table --results results/smoke/$$table; done

# Every published table, and the sentences of README and of the pages beside the tables, from the records.
PUBLISHED := $(patsubst %/leaderboard.md,%,$(wildcard results/*/leaderboard.md results/smoke/*/leaderboard.md))
pages: $(READY)
	for table in $(PUBLISHED); do $(BIN)/fedsynth leaderboard --results $$table --out $$table || exit 1; done
	$(BIN)/fedsynth records pages README.md results/README.md results/*/README.md

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "FedSynth needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) --version 2>&1`." \
		"Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[sweep,volumes,tensorboard,test,lint]'
	@touch $@
