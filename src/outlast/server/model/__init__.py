"""The API of a loaded model, as OpenAI's clients know it, before an engine that speaks HTTP.

Public names: `server.bind`, `server.serve`, `server.Api`, `front.Serves`, `origin.Origin`,
`requests.Loaded`.
"""
