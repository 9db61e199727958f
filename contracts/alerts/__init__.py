"""Alert rules as versioned configuration: the model of a rule file (`model`) and examples (`examples/`).

Belongs here: what a rule says. Does not belong here: evaluating it (`analytics.incidents`, `orchestration.alerts`).
"""
