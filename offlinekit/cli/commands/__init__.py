"""The commands, one a file: each file's `command` is found by itself, under the file's name."""
