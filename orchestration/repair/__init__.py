"""Repair: write again, from the log or the archive, exactly what an audit has named.

Belongs here: the order of repairs, and one module per store. Does not belong here: finding (`serving.audit`).

Every step deletes what is wrong at some positions and writes the same positions again from what is right. Killed
anywhere, it leaves rows missing that the next audit names; running it again completes it; then it has nothing to do.
"""
