"""The command line: one file per family of verbs; KnsError becomes an exit code."""
