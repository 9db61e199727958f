"""What the Dagster UI shows of an asset: tables, small plots, column schemas, links.

Belongs here: turning frames into metadata. Does not belong here: computing what the frames say.
"""
