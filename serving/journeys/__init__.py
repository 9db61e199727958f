"""Answers about sessions and journeys: paths, entries and exits, funnels, retention, engagement scores.

Belongs here: asking the store and shaping answers. Does not belong here: SQL (dbt_project/macros/journeys.sql), the
mathematics (`analytics.journeys`), printing (`orchestration.cli.journeys`).
"""
