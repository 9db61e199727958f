"""The HTTP collector: takes events over `POST /v1/events`, answers a verdict per row once they are durable.

Belongs here: HTTP, keys, limits, back-pressure, group commit. Does not belong here: what a valid event is
(`contracts`), how rows become messages (`streaming.intake`).
"""
