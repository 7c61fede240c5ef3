"""Recorded cases: a check in one file."""
