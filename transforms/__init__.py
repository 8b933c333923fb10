"""Beam transforms: each counts, tags and batches around one pure call."""
