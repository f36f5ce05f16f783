"""The zoo on disk: many nets in one folder, written whole or not at all, readable in any language (docs/format.md).

zoo.py     Zoo, what users hold: append, index, theta, slices, select, load, verify
netfile.py one net's file: the safetensors container with our metadata and checksums
plan.py    zoo.json: what the zoo was planned to be
split.py   which nets are test nets
writers.py who is at it, by a file with a heartbeat each
claims.py  which of them trains which nets
index.py   index.parquet, derived from the nets
annotated.py annotations.json, columns that users added
reader.py  random slices without loading whole nets
properties.py which properties the nets have
select.py  which nets a task may use, and why the others are left out
verify.py  every byte checked; damaged files moved aside
describe.py the zoo in numbers, and its card
"""

from nws.zoo.netfile import DamagedFileError, Header, TakenError, read_header, read_net
from nws.zoo.select import DEFAULT_THRESHOLD, THRESHOLDS, split
from nws.zoo.verify import Report
from nws.zoo.zoo import Zoo

__all__ = [
    "DEFAULT_THRESHOLD",
    "THRESHOLDS",
    "DamagedFileError",
    "Header",
    "Report",
    "TakenError",
    "Zoo",
    "read_header",
    "read_net",
    "split",
]
