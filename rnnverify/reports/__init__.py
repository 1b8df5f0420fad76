"""Formats: pure functions from a result to a string. One module per format, a line in `FORMATS` for each."""
