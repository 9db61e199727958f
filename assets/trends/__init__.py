"""Trending topics of sealed days: what the boards must have shown, computed again from published slices.

Belongs here: which mentions a day is made of, its facts. Does not belong here: the rules of a board (`analytics`), SQL
(`dbt_project/macros/trends.sql`).
"""
