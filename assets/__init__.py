"""Software-defined assets and the plain functions they call.

Belongs here: what is computed and from what. Does not belong here: when (orchestration) and why now (sensors).
"""
