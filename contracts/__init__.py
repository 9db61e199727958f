"""What an event is: envelope, event types, network mappings, wire format and the metric catalogue.

Belongs here: pure descriptions and column-wise checks of data. Does not belong here: anything that opens a
file handle to a store, a socket or a clock of its own (`received_at` is always passed in).
"""
