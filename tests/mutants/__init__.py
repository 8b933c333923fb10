"""Deliberate bugs, one after another, and whether the tests notice them: `make mutants`."""
