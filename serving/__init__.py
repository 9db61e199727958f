"""The query layer: metric, dimensions and time in; an answer that says how complete it is out.

Belongs here: SQL built from the metric catalogue. Does not belong here: writing.
"""
