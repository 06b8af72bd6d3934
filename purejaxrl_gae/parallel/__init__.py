"""What vmapped agents do together or in turn, and one agent on many devices."""
