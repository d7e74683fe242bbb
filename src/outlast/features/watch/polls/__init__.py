"""Looking at hubs: who is due, what is asked for, and what happened since the last time.

Public names: `hub_pass.Pass` is one pass over a hub, `compare.compare` judges, and `schedule` says
when.
"""
