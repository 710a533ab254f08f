"""The file: YAML with the place of every part, and a reader that tells every error at once."""
