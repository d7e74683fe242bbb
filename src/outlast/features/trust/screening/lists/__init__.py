"""Lists of parties, read from files of the operator: bounded, and wholly or not at all."""
