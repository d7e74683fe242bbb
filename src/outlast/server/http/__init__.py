"""HTTP as such: bounds, tokens, ranges, sendfile, decoding on the way out, metrics, the log.

Public names: `listening.listening`, `guard.Tokens`, `files.Delivery`, `outlet.Outlet`,
`metrics.Metrics`.
"""
