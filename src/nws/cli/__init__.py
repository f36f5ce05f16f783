"""The command line: each command is a few lines over one library call. Bad input ends with one line and exit code 2."""

from __future__ import annotations

import sys

from cyclopts import CycloptsError

from nws import threads
from nws.cli import auditing, bench, benchmark, classifying, figures, importing, report, sample, zoos  # noqa: F401
from nws.cli.app import app
from nws.errors import NwsError

__all__ = ["app", "main"]


# (command, option as it was called before) -> its name now. Once one word meant three things; scripts that say it still run.
_FORMER = {
    ("sample", "--with"): "--set",
    ("classify", "--only"): "--where",
    ("figures", "--only"): "--figures",
    ("bench", "--only"): "--suites",
}


def main() -> None:
    """The entry point: exit code 0 done, 1 a bug, 2 bad input or a damaged file, 130 Ctrl-C."""
    threads.for_this_process()
    try:
        code = app(_renamed(sys.argv[1:]), exit_on_error=False, print_error=False)
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


def _renamed(arguments: list[str]) -> list[str]:
    """The arguments with options that were renamed under their new names; `--only=x` as well as `--only x`."""
    command = arguments[0] if arguments else ""
    split = [argument.partition("=") for argument in arguments]
    return ["".join((_FORMER.get((command, option), option), *rest)) for option, *rest in split]
