"""Engagement per hour and per day: rollups of slices, made by the same SQL as the live views.

Belongs here: which builds a rollup is made of, comparing, restating. Does not belong here: the SQL of the rollup
(`dbt_project/macros/engagement.sql`).
"""
