"""Audio as arrays and files: decode, resample, cut, measure, add noise. No Beam, no models."""
