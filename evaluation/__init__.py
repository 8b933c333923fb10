"""Metrics and studies of the paper."""
