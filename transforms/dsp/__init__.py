"""Mathematics on arrays. No Beam."""
