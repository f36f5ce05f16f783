"""The command line: each command is a few lines over one library call. Bad input ends with one line and exit code 2."""

from __future__ import annotations

import sys

from cyclopts import CycloptsError

from nws import threads
from nws.cli import auditing, bench, figures, importing, reading, report, zoos  # noqa: F401 (their commands join the application)
from nws.cli.app import app
from nws.errors import NwsError

__all__ = ["app", "main"]


def main() -> None:
    """The entry point: exit code 0 done, 1 a bug, 2 bad input or a damaged file, 130 Ctrl-C."""
    threads.for_this_process()
    try:
        code = app(sys.argv[1:], exit_on_error=False, print_error=False)
    except (NwsError, CycloptsError) as error:
        print("nws: " + " ".join(str(error).split()), file=sys.stderr)
        code = 2
    except OSError as error:  # a folder that may not be written, a full disk: what no module could say better
        print(f"nws: {error.filename or 'file'}: {error.strerror or error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("nws: stopped; what was finished is kept, the same command goes on", file=sys.stderr)
        code = 130
    sys.exit(code or 0)
