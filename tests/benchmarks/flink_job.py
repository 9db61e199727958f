"""The job of the comparison, run by PyFlink's own interpreter: events and distinct actors per minute and type.

Belongs here: the job, as somebody who knows Flink would set it up. Does not belong here: anything of ours; this file is
run as a script where none of our packages are. Prints one JSON object per run; Flink prints the rows of each between.
"""

import json
import sys
import time

from pyflink.table import EnvironmentSettings, TableEnvironment

EVENTS = """
CREATE TABLE events (
    event_time BIGINT, type STRING, actor STRING, ts AS TO_TIMESTAMP_LTZ(event_time, 3),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
    'connector' = 'kafka', 'properties.bootstrap.servers' = '{servers}', 'topic' = '{topics}',
    'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
    'format' = 'json', 'properties.fetch.min.bytes' = '65536', 'properties.max.poll.records' = '5000'
)
"""
COUNTS = (
    "CREATE TABLE counts (bucket TIMESTAMP(3), type STRING, events BIGINT, actors BIGINT) WITH ('connector' = 'print')"
)
JOB = """
INSERT INTO counts
SELECT window_start, type, COUNT(*), COUNT(DISTINCT actor)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, type
"""
CONFIGURATION = {
    "parallelism.default": "2",
    "pipeline.object-reuse": "true",
    "table.local-time-zone": "UTC",
    "execution.checkpointing.interval": "2 s",
    # Else its end waits for one more checkpoint, which is no part of its rate.
    "execution.checkpointing.checkpoints-after-tasks-finish": "false",
}


def main(connector: str, servers: str, topics: str, runs: int) -> None:
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    configuration = environment.get_config()
    for name, value in {**CONFIGURATION, "pipeline.jars": f"file://{connector}"}.items():
        configuration.set(name, value)
    environment.execute_sql(EVENTS.format(servers=servers, topics=topics))
    environment.execute_sql(COUNTS)
    for _ in range(runs):
        began = time.perf_counter()
        job = environment.execute_sql(JOB).get_job_client()
        result = job.get_job_execution_result().result()
        wall = time.perf_counter() - began
        sys.stdout.flush()
        print(json.dumps({"wall": wall, "own_clock": result.get_net_runtime() / 1000}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
