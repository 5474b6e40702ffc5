"""Data sets, one file each; every one yields `soundspot.types.Sample`."""
