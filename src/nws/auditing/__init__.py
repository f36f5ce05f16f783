"""One checkpoint of unknown origin: how was it trained, and can the answer be trusted?

findings.py      `audit`, and the Audit it returns
auditor.py       a meta-classifier with its calibration and its reference: learned from a zoo, saved, loaded
calibration.py   scores -> probabilities that mean what they say, measured over nets that were held out
architecture.py  what the shapes in the file say by themselves
outputs.py       which outputs of a zoo's nets were never trained
counterfeits.py  nets that only look trained, told from those that were
learning.py      all models of one zoo, in one folder
reference.py     how far a net is from the nets of a zoo
specimen.py      the net that is audited, and what is odd about it by itself
"""

from nws.auditing.architecture import READ, Architecture
from nws.auditing.auditor import SLICES, Answer, Auditor, Evidence, learn, load
from nws.auditing.calibration import Calibration, percent
from nws.auditing.counterfeits import GENUINE
from nws.auditing.findings import Audit, Check, Skipped, audit, examine
from nws.auditing.learning import learned, targets
from nws.auditing.reference import Reference, share
from nws.auditing.specimen import Specimen

__all__ = [
    "GENUINE",
    "READ",
    "SLICES",
    "Answer",
    "Architecture",
    "Audit",
    "Auditor",
    "Calibration",
    "Check",
    "Evidence",
    "Reference",
    "Skipped",
    "Specimen",
    "audit",
    "examine",
    "learn",
    "learned",
    "load",
    "percent",
    "share",
    "targets",
]
