"""Shards in, checkpoints out."""
