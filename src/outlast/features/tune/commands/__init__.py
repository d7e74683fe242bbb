"""The commands of tuning, and the lines of JSON that they print."""
