"""The commands of watching, and the lines of JSON that they print."""
