"""Adapters behind three small protocols, and the models that come with the package."""
