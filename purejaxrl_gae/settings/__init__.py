"""Everything a user sets: fields and their types, files, presets, flags, the errors that refuse them, and whom to believe."""
