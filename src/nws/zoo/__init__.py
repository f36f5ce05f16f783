"""The zoo on disk: many nets in one folder, written whole or not at all, readable in any language (docs/format.md).

zoo.py     Zoo, what users hold: append, index, theta, slices, select, load, verify, pack
plan.py    zoo.json: what the zoo was planned to be
container.py the safetensors container, read by hand
netfile.py one net's file: the container with our metadata and checksums
shardfile.py many nets in one file
writing.py nets in: a file each, or many to a shard
packing.py files of single nets into shards
scan.py    which files there are
files.py   which file a net is in, kept open
writers.py who is at it, by a file with a heartbeat each
claims.py  which of them trains which nets
reader.py  random slices without loading whole nets
index.py   the index in parts, derived from the nets; rows.py its columns
annotated.py annotations.json, columns that users added
properties.py which properties the nets have
select.py  which nets are test nets, which a task may use, and why the others are left out
verify.py  every byte checked; damaged files moved aside
describe.py the zoo in numbers, and its card
"""

from nws.zoo.container import DamagedFileError
from nws.zoo.netfile import Header, TakenError, read_header, read_net
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
