"""Social metrics answered: posts with what they got, accounts with their followers, networks with what they brought.

Belongs here: asking the store and putting the mathematics together (`answers`). Does not belong here: formulas
(`analytics.social`, `analytics.followers`), metrics of one number each (`serving.query`).
"""
