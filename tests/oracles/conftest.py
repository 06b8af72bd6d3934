"""Leaves the scripts alone: they need libraries that the tests do not."""

collect_ignore = ["documents.py", "libraries.py", "rlax_numbers.py"]
