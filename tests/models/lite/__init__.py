"""Tests of `models/lite`."""
