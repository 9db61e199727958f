"""First filtering pass: an event hour and network, read from the archive, filtered, published for the aggregates.

Belongs here: sources, their loading in parallel, the filter, building slices. Does not belong here: metrics.
"""
