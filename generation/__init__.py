"""From a checkpoint and a voice to a song. No Beam."""
