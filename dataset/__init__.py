"""What a dataset is on disk: parts, shards, tables, manifest, versions. No Beam."""
