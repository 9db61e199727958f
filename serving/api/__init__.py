"""The query API: REST, GraphQL and live updates over the query layer.

Belongs here: HTTP, the cache of answers, limits. Does not belong here: numbers (`serving.query`, `serving.trends`),
who may see what (`serving.access`), settings and the process around it (`orchestration`).
"""
