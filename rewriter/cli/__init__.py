"""The command line, rewrite-model: one file a command."""
