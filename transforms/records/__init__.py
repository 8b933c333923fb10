"""Records on disk: part files, Parquet and TFRecord shards. No Beam."""
