"""What stays of a revision that was removed, and what audits found of endpoints."""
