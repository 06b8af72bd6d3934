"""Everything a user sets: fields and types, files, presets, flags, errors that refuse them, and whom to believe."""
