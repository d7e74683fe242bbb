"""The commands of bundles: parse, call, print."""
