"""The open data system for singing-accompaniment models."""
