"""What a pull is made of: who says what is meant, and what follows from that for the archive.

Public names: `plan.PullPlan`, `plan.make_plan`.
"""
