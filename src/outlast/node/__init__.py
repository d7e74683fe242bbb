"""A running node: which peers it knows, what it offers to whom, and what it says of itself.

Public names: `node.Node`, `peers.Contacts`, `policy.Sharing`, `scope.Neighbourhood`,
`status.Report`.
"""
