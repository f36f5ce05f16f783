"""Benchmarks of readers of weights that cannot leak: training zoos by public seeds, test nets trained afresh for every scoring.

zoos.py      which zoos each scale needs; made once (training) or from a fresh seed (tests)
tracks.py    what is asked: seen and unseen options, slices, numbers, ablations
scoring.py   one reader on one question: learned from one zoo, tested on another
read.py      nws benchmark read: all of them, resumable, one row each
"""

from nws.benchmark.read import benchmark_read

__all__ = ["benchmark_read"]
