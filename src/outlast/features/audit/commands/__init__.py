"""The commands of audits."""
