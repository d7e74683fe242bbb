"""Signed statements about revisions: how they are read and made, and which claims follow.

Public names: `dsse.DsseEnvelope` and `statement.Statement` read; `assessor.TrustAssessor` says
which claims hold.
"""
