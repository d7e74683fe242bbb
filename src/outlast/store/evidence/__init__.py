"""What stays of a revision that was removed: the evidence of how it came, and its manifest; also
the signed files of catalogues, and what audits found of endpoints.
"""
