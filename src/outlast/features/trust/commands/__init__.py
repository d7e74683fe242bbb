"""The commands `key`, `sign`, `observe` and `revoke`."""
