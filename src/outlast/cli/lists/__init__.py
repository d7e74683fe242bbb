"""Keep-lists on the command line: `pull --file`, and `sync`."""
