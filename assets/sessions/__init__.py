"""Sealed sessions: rows and facts per UTC day and network, cut out of published slices.

Belongs here: which events a day needs, staging, publishing, what is stale. Does not belong here: the rule of a session
(`analytics.sessions`), SQL text (`dbt_project/macros/sessions.sql`).
"""
