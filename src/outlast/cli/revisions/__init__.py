"""What the archive holds: `ls`, `show` and `verify`."""
