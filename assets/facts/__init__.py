"""Facts: what the day datasets of `contracts.facts` share on their way to their seals.

Belongs here: the recipe of a fact dataset, and writing its facts. Does not belong here: computing them.
"""
