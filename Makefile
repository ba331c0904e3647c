# make demo    train, score, export and restore on real photographs, in ten minutes
# make test    the tests
# make check-gpu    what wants a GPU: installs CUDA's parts, then runs and times training there
# Another Python: make test PYTHON=python3.12. Others' pairs: make demo DATA=DIR.
PYTHON ?= python3
VENV ?= $(if $(filter-out python3,$(PYTHON)),.venv-$(notdir $(PYTHON)),.venv)
MINUTES ?= 5
BIN = $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
CONSTRAINTS = constraints/py311.txt
ifneq ($(filter 3.12 3.13,$(VERSION)),)
CONSTRAINTS = constraints/py312.txt
endif

.PHONY: demo test check-gpu env lint wheel constraints clean

demo: env
	$(BIN)/python examples/demo.py --minutes=$(MINUTES) $(if $(DATA),--data='$(DATA)')

test: env
	$(BIN)/python -m pytest $(or $(TESTS),-n logical --dist=loadfile --no-loadscope-reorder)

check-gpu: env
	$(BIN)/pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[gpu,test]'
	@$(BIN)/python -c 'import tensorflow as tf, sys; sys.exit(not tf.config.list_physical_devices("GPU"))' \
	  || { echo "error: TensorFlow sees no GPU; nvidia-smi, and the driver's version, tell more" >&2; exit 1; }
	$(BIN)/python -m pytest tests/test_networks.py tests/test_gan.py tests/test_train.py tests/test_resume.py \
	  tests/test_restorer.py
	$(BIN)/python benchmarks/train_step.py --noworkers

env: $(VENV)/made

# The stamp comes last: an environment whose making was interrupted is made anew.
$(VENV)/made: setup.cfg $(CONSTRAINTS)
	@case '$(VERSION)' in 3.11|3.12|3.13) ;; *) \
	  echo "error: $(PYTHON): not a Python 3.11 to 3.13 that starts; say make PYTHON=python3.11" >&2; exit 1;; esac
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot make environments; apt install python3-venv" >&2; exit 1; }
	@echo "making $(VENV): TensorFlow is some 600 MB, a few minutes"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[test]'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
	  echo "error: OpenCV lacks system libraries; apt install libgl1 libglib2.0-0" >&2; exit 1; }
	@touch $@

lint: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

wheel: env
	$(BIN)/python -m build --outdir dist .

# Resolves the whole tree anew and writes down what came of it.
constraints:
	$(PYTHON) -m venv --clear build/resolve
	build/resolve/bin/pip install -q '.[test]'
	build/resolve/bin/pip freeze --exclude tf-deblur > $(CONSTRAINTS)

clean:
	rm -rf .venv .venv-* build dist demo *.egg-info
