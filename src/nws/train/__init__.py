"""The trainer: jobs in, nets out. No files are read or written here, but for the pictures that workers share."""

from nws.train.loop import Job, Progress, Schedule, train_net
from nws.train.runners import train

__all__ = ["Job", "Progress", "Schedule", "train", "train_net"]
