"""Results that are cited: suites of runs, their raw records in docs/results, tables and figures made of those alone."""
