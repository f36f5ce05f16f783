"""The 2020 program's interface: its files, its two commands, its `import_weights`. docs/legacy.md says what differs and why."""

from nws.legacy.files import Run, write_run
from nws.legacy.split_tables import Weights, import_weights, read_table, write_table

__all__ = ["Run", "Weights", "import_weights", "read_table", "write_run", "write_table"]
