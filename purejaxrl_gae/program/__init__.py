"""The training program: everything between a config and one compiled function."""
