"""Which peer a file comes from, in which representation, and when.

Public names: `coordinator.PeerCoordinator` (does), `strategy.decide` (the rules, pure),
`snapshot.Observer`, `availability.Availability` and `progress.FileProgress` (what is known),
`resolve.locate` (which commit a ref is), `tuning.Tuning`.
"""
