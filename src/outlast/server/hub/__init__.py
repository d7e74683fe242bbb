"""The hub's API over the archive or a mirror.

Public names: `hub.Hub` handles a request, `routes.parse` says what it asks for, `server.serve`
listens.
"""
