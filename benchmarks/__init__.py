"""Benchmarks: each prints a table, both sides measured in turns in one process."""
