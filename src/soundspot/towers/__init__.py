"""Encoders, one file each: a picture or a sound to features at positions."""
