"""Dagster's daemon, with a sensor loop of one second.

Belongs here: that one change. Does not belong here: anything a setting of dagster.yaml can do.

The daemon looks every five seconds which sensors are due, and that number is a constant. The event-log sensor holds its
tick and returns the moment something arrives; after that nobody listens until the daemon looks again, so under a steady
stream the constant, not the work, decides how old the newest partition is (measured in docs/decisions/0007). How often
a sensor really asks for runs stays its own `minimum_interval_seconds`.
"""

from __future__ import annotations

import dagster._daemon.sensor as sensor_loop
from dagster._daemon.cli import main

SENSOR_LOOP_SECONDS = 1


def use_short_sensor_loop() -> None:
    """Make Dagster's sensor loop look every second.

    Raises:
        AttributeError: this version of Dagster has no such constant any more.
    """
    if not hasattr(sensor_loop, "MIN_INTERVAL_LOOP_TIME"):
        raise AttributeError("dagster._daemon.sensor has no MIN_INTERVAL_LOOP_TIME: look how its loop waits now")
    sensor_loop.MIN_INTERVAL_LOOP_TIME = SENSOR_LOOP_SECONDS


if __name__ == "__main__":
    use_short_sensor_loop()
    main()
