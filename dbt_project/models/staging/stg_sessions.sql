SELECT * EXCEPT (build_id)
FROM ({{ published_sessions(seals=source('tally', 'seals'), builds=source('tally', 'sessions_builds')) }})
