"""Benchmarks: each prints a table, its sides measured in turns in one invocation."""
