"""One job a file, and the command line."""
