"""Vmapped agents, together or in turn, and one agent on many devices."""
