"""What a command writes to the terminal: results, progress, tables and diagnostics."""
