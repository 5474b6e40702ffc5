"""The world <-> arrays: pictures and sounds, in and out."""
