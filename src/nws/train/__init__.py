"""The trainer: jobs in, nets out. No files are read or written here."""

from nws.train.loop import Progress, train_net
from nws.train.runners import Job, train

__all__ = ["Job", "Progress", "train", "train_net"]
