"""One module a subcommand; each has a function `command`, named and documented for --help."""
