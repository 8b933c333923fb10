"""From shards to checkpoints. No Beam."""
