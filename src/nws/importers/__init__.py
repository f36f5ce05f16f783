"""Other people's zoos into ours (docs/import.md says what becomes what).

source.py        what every kind yields: items, each a net when it is loaded
filling.py       source -> zoo, resuming, damaged items skipped and listed
nws2020.py       the data published with the paper, by split table or by folder of runs
small_cnn_zoo.py one matrix of weights and a table of metrics
model_zoos.py    folders of runs with result.json, and pickled data sets
inrs.py          implicit representations: Navon's and Zhou's folders; inrs_hdf5.py fit-a-nef's files, inrs_splits.py sides
checkpoints.py   any folder of checkpoints, with a table of properties
"""

from nws.importers.filling import KINDS, Summary, fill, open_source

__all__ = ["KINDS", "Summary", "fill", "open_source"]
