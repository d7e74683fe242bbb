"""The files of one revision on their way in, from any source: scheduled, downloaded, checked,
acknowledged.

Public names: `revision.fetch_files`, `scheduler.transfer`, `download.Download`, `plan.FetchPlan`,
`source_state.SourceState`.
"""
