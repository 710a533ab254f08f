# kns: `make` lists what can be made.
SHELL := /bin/sh
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
KNS := $(SUDO) .venv/bin/kns
PYTEST := .venv/bin/pytest
LAB ?= labs/four-paths.yaml

.DEFAULT_GOAL := help
.PHONY: help setup setup-labs setup-test demo check format test test-unit test-kernel test-bare soak bench vm vm-test docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what a lab needs and is missing, and kns in .venv
	@scripts/setup run

setup-labs: ## that, and the programs of labs with Ingress or load balancers (none is started)
	@scripts/setup labs

setup-test: ## that, and what the tests need
	@scripts/setup test

demo: setup ## bring a lab up, prove all four paths, say what to try next
	@scripts/demo $(LAB)

check: setup-test ## lint, format, types, import layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: setup-test ## let ruff put the code into form
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

test: setup-test ## everything: unit tests, the running kernel, and a VM for what it lacks
	@scripts/test unit kernel vm

test-unit: setup-test ## the tests that need no root
	@scripts/test unit

test-kernel: setup-test ## the tests on the running kernel, in throw-away netns
	@scripts/test kernel

test-bare: ## make test in a bare Debian root with a fresh clone of what is committed
	@scripts/bare-machine make test

soak: setup-test ## a thousand random operations on a lab, each proved; SOAK="--operations N --seed S"
	@scripts/in-throwaway .venv/bin/python -m tests.soak.soak $(SOAK)

bench: setup-test ## kns beside the kernel's floor, CNI plugins, mininet; its rules; its DNS server; network policies; how soon a change is there
	@scripts/in-throwaway .venv/bin/python -m benchmarks.run $(BENCH)
	@disk=$$(mktemp -d /var/tmp/kns-bench.XXXXXX); scripts/in-throwaway sh -c 'mount --bind "$$0" /run && "$$@"' \
	    "$$disk" .venv/bin/python -m benchmarks.run $(BENCH); code=$$?; rm -r "$$disk"; exit $$code
	@scripts/in-throwaway .venv/bin/python -m benchmarks.rules
	@scripts/in-throwaway .venv/bin/python -m benchmarks.rules --services 5000 --only iptables-legacy,nftables@1.36,nftables@1.37
	@scripts/in-throwaway .venv/bin/python -m benchmarks.dns
	@scripts/in-throwaway .venv/bin/python -m benchmarks.policies
	@scripts/in-throwaway .venv/bin/python -m benchmarks.latency

vm: setup-test ## a shell in a VM with Debian's kernel (IPVS, netem, dummy)
	@scripts/test vm-shell

vm-test: setup-test ## the tests that need a kernel with IPVS, netem, dummy links or SCTP, in a VM
	@scripts/test vm

docs: setup-test ## the documentation: build/site, and the man page build/man/kns.1
	@.venv/bin/pip install --quiet --disable-pip-version-check --group docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	.venv/bin/python scripts/manpage.py build/man/kns.1

clean: ## remove every lab, .venv and what builds and tests left
	@if [ -x .venv/bin/kns ]; then $(KNS) down --all; fi
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
