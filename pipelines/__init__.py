"""The Beam jobs, one a file."""
