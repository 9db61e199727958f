"""One package per store. Each has an interface (`base`), its implementations, and `open_*(url)` that chooses by URL.

Belongs here: everything that knows a store's protocol, and the Dagster resources that hand the
stores to assets (`resources.dagster_resources`). Does not belong here: what an event means (contracts)
or when to do something (assets, streaming).
"""
