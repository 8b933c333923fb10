"""Tests of `dataset`."""
