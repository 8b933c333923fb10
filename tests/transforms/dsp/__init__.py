"""Tests of the mathematics on arrays."""
