"""The commands of the command line, one file each.

Each has a `SENTENCE` for the list, `define` to add its arguments, and `run`, which returns the exit
code. None imports anything heavy before it runs.
"""
