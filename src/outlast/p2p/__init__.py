"""Which peer a file comes from, in which representation, and when.

Public names: `strategy.decide` is the rule and pure; `availability` and `progress` are what is
known; `coordinator.PeerCoordinator` acts; `resolve.locate` asks what a ref is.
"""
