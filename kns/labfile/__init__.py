"""What the user wrote: YAML with line marks, its schema, every error at once with file and line."""
