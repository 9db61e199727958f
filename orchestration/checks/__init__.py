"""Asset checks: what must hold at the borders between layers, with the evidence by name when it does not.

Belongs here: asking stores and saying what was found. Does not belong here: repairing, and the SQL of the metrics.
"""
