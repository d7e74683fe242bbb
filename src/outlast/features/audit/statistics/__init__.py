"""The tests of an audit as pure functions over numbers: no network, no engine, no file."""
