"""ClickHouse on this machine with nothing but pip: chdb, the engine in a wheel, behind ClickHouse's HTTP interface.

Belongs here: HTTP, sessions, the queue in front of the engine, the engine's own configuration. Does not belong here:
tables, metrics, or anything that knows what an event is. Only this process may import `chdb`: it costs 200 MB.

Start it with `python -m deploy.local.clickhouse --path DIR --port N`.
"""
