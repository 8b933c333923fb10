"""Tests, in folders that mirror those of the code."""
