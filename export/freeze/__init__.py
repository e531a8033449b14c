"""The makers of frozen networks. Each has one input:

visits.py      freeze           checkpoint of sign units -> Frozen, learns by visits
sequential.py  freeze_module    the user's own torch.nn.Sequential of binary layers -> Frozen, learns by visits
votes.py       freeze_graded    checkpoint of graded units -> Frozen, learns by votes
gates.py       freeze_gates     training or checkpoint of normed gates -> Frozen, with a head, levels that learn, or neither
fresh.py       fresh            an unlabelled sample or ranges -> Frozen, learns by the head; fresh_votes: by votes
triples.py     fit_triples      an unlabelled sample -> units of three features
thaw.py        thaw             Frozen -> checkpoint, the way home; thaw_gates.py for the default network
returned.py                     checkpoint that came back -> Frozen, with what only the device had; returned_gates.py
home.py        frozen_of        any checkpoint that came back -> Frozen
retune.py      retune           Frozen and settings -> Frozen
head.py                         values and labels -> the layer of a fitted head
output_levels.py                how output levels learn
batchnorm.py                    normalisation -> thresholds and scores
levels.py                       hidden weights -> levels, and the probability tables
"""
