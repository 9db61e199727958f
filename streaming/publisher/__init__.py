"""The publisher: one process that computes small things every second or so and puts them where they are read.

Belongs here: running tasks side by side (`runner`), what it tells about itself (`stats`), and the tasks that need no
other room (trending topics). Tasks that need other rooms are put together by orchestration. Does not belong here:
Dagster, metrics.
"""
