"""The report of an audit as one page to read and to print."""
