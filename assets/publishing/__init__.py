"""Sealed builds: staged under a build id nobody reads, published for every reader at once by one insert into `seals`.

Belongs here: staging scopes, comparing with what is published, restatements, publishing, clearing away what was never
published (docs/decisions/0005). Does not belong here: what a build contains (`assets.slices`, `assets.engagement`).
"""
