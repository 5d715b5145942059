# Verbs: demo view test qa bench image clean (and setup, format). 'make demo' and 'make test' set up all they need, in .venv and nowhere else
# (system packages by apt when root; without root they say which command to give).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEMO_WORKSPACE = s4c-demo
IMAGE = s4c-hpc
# What builds images: the first of these that is there. ENGINE=..., and IMAGE_OPTIONS for its own options.
ENGINE ?= $(firstword $(notdir $(shell command -v podman || command -v buildah || command -v docker)) podman)
# One BLAS/OpenMP thread per process: the tests and the tasks bring their own parallelism.
export OMP_NUM_THREADS = 1
# Images of Python forbid bytecode files: every command would compile all modules of the clone again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo view test qa format bench image clean
help:
	@echo "make demo    set up, run the whole chain on bundled real data, say where the markers and the report are"
	@echo "make view    serve the demo's map on this machine; open the address that it says, Ctrl-C ends"
	@echo "make test    set up, run every test"
	@echo "make qa      lint, types, import contracts, spelling"
	@echo "make bench   measure (benchmarks/README.md)"
	@echo "make image   build the OCI image with podman, buildah or docker (s4c_hpc/guides/install.md)"
	@echo "make clean   remove the environment and the demo's workspace"

setup: $(READY)

$(READY): requirements.lock pyproject.toml .ci/system-packages
	.ci/system-packages setup $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m s4c_hpc.extract.warm
	$(BIN)/python -m s4c_hpc.features.warm
	$(BIN)/python -m s4c_hpc.confounders.warm
	$(BIN)/python -m s4c_hpc.practices.warm
	@touch $@

demo: $(READY)
	$(BIN)/s4c demo --workspace $(DEMO_WORKSPACE)

view: $(READY)
	test -d $(DEMO_WORKSPACE)/markers || $(MAKE) demo
	$(BIN)/s4c serve --workspace $(DEMO_WORKSPACE)

test: $(READY)
	.ci/system-packages test $(PYTHON)
	$(BIN)/python -m pytest -n 3 --dist loadfile  # one more than cores: tests on a cluster mostly wait

qa: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m benchmarks

image: VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' s4c_hpc/__init__.py)
image:
	$(ENGINE) build $(IMAGE_OPTIONS) --file configs/images/Containerfile --tag $(IMAGE):$(VERSION) --tag $(IMAGE):latest \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$(or $(shell git rev-parse HEAD 2>/dev/null),unknown) .

clean:
	rm -rf $(VENV) $(DEMO_WORKSPACE)
