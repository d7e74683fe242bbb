"""What commands print with --json: each line as a declared type, from which docs/json.md is made.

Public names: `document.Document`, `document.document`.
"""
