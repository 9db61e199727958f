"""Who may see what: workspaces, API keys, roles, and the log of their changes.

Belongs here: keeping and checking them. Does not belong here: HTTP (`serving.api`), commands (`orchestration.cli`).
"""
