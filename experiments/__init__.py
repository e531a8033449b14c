"""Questions asked of the rooms: the demo, streams, tuning, sweeps, analyses and their pictures.

stream.py          a model in a stream of samples, on the host or on an emulated board
confusion.py       accuracy, recall by class and the confusion matrix
demo.py            the demo of README, with the settings of demo_settings.py
tuning.py          the search for a device's learning settings; race.py halves the candidates
judging.py         the learners of a trained network beside their rivals, on samples that training did not see
sweep.py           many runs of training, in parallel, as one table
analyses.py        signs switched in a trained network; quadratic.py, the paper's quadratic task
results.py         the skeleton of the benchmarks: cells, rows, pages
plots.py           pictures
"""
