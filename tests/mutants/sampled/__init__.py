"""Small changes that cosmic-ray makes to deciding files: `make mutants-sampled`."""
