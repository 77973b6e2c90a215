# Entry points; each is a script of the same name. Run `make` for the list.
.DEFAULT_GOAL := help
.PHONY: help setup start demo stop test dist bench soak fuzz deny unsetup
MAKEFLAGS += --no-print-directory

help: ## Show this list
	@sed -n 's/^\([a-z]*\): ## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

setup: ## Do once what needs root: Apptainer and its tools, an ordinary user for root's use
	@scripts/setup

start: ## Build, get an image, start Netdata and show its address
	@scripts/start

demo: ## The same with four simulated GPUs and a replayed SGLang server
	@scripts/demo

stop: ## End what start and demo started
	@scripts/stop

test: ## Run all tests, the end-to-end ones in a real container
	@scripts/test

dist: ## Pack launcher and plugin into a tarball that runs elsewhere
	@scripts/dist

bench: ## Measure what the plugin costs, beside nvitop-exporter and Prometheus
	@scripts/bench

soak: ## Run it for half an hour at ten times the speed: its memory does not grow
	@scripts/soak

fuzz: ## Look for ten minutes for input that breaks it
	@scripts/fuzz

deny: ## Check licences and sources of what we depend on
	@scripts/deny

unsetup: ## Take back what setup installed
	@scripts/unsetup
