"""The makers of frozen networks. Each has one input:

visits.py      freeze           checkpoint of sign units -> Frozen, learns by visits
votes.py       freeze_graded    checkpoint of graded units -> Frozen, learns by votes
fresh.py       fresh            nothing -> Frozen, learns by votes
retune.py      retune           Frozen and settings -> Frozen
batchnorm.py                    normalisation -> thresholds and scores
levels.py                       hidden weights -> levels, and the probability tables
"""
