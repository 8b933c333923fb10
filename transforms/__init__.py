"""Beam transforms: counting and tagging round one pure call each."""
