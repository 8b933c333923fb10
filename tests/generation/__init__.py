"""Tests of `generation`."""
