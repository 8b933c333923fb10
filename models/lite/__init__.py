"""The lite models: code, weights and fitting."""
