"""The commands: parse, call a use case, print, map errors to exit statuses, once.

Public names: `main.COMMANDS` names the commands, `edge.session` opens what each of them needs,
`screen.render.Screen` shows events.
"""
