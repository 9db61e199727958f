"""Sources that Tally reads by itself: files, for now.

Belongs here: bytes of a source → rows in chunks of constant memory, and their admission. Does not belong here: HTTP
(`streaming.collector`) or what a row means (`contracts`).
"""
