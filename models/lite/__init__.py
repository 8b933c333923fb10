"""The lite models, whole: code, weights and what fits them."""
