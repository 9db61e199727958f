"""What runs the stack: local engines (`deploy.local`) and instance files.

Belongs here: processes and their configuration. Does not belong here: business rules.
"""
