"""Targets of the archive: engines that the gateway starts, keeps warm and stops."""
