{{ published_days(seals=source('tally', 'seals')) }}
