"""The 2020 program's flags: --name=value or --name value, switches as --name, --noname, --name=0, --name=true."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from nws.errors import NwsError

_SWITCH = {"1": True, "t": True, "true": True, "yes": True, "0": False, "f": False, "false": False, "no": False}


@dataclass(frozen=True)
class Flag:
    """One flag. Its values have the type of `default`, or are whole numbers or text when `type` says so.

    least   the smallest number that makes sense
    fixed   why no value but the default is possible here; the 2020 program had it as a choice
    """

    name: str
    default: Any
    help: str
    type: type | None = None
    least: float | None = None
    fixed: str = ""

    def parse(self, text: str) -> Any:
        kind = self.type or type(self.default)
        try:
            value = _SWITCH[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError, OverflowError):
            wanted = {bool: "0 or 1", int: "a whole number", float: "a number"}[kind]
            raise argparse.ArgumentTypeError(f"{text!r} must be {wanted}") from None
        if self.least is not None and not self.least <= value < 2**63:
            raise argparse.ArgumentTypeError(f"{text} must be at least {self.least:g}")
        if self.fixed and value != self.default:
            raise argparse.ArgumentTypeError(f"only {self.default} is possible here: {self.fixed}")
        return value


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise NwsError(f"{message.removeprefix('argument ')} (--help lists all flags)")


def parse(command: str, about: str, flags: Sequence[Flag], argv: Sequence[str]) -> argparse.Namespace:
    """The flags' values by name; NwsError for what is no flag or no value of one."""
    parser = _Parser(prog=f"python {command}.py", description=about, allow_abbrev=False)
    for flag in flags:
        shown = "" if flag.default is None else f" (default: {flag.default})"
        options: dict[str, Any] = {"type": flag.parse, "default": flag.default, "help": flag.help.replace("%", "%%") + shown}
        switch = (flag.type or type(flag.default)) is bool
        if switch:
            options |= {"nargs": "?", "const": "1"}  # a constant of text is parsed like one that was given
        parser.add_argument(f"--{flag.name}", metavar="0|1" if switch else "VALUE", **options)
        if switch:
            parser.add_argument(f"--no{flag.name}", dest=flag.name, action="store_false", help=argparse.SUPPRESS)
    return parser.parse_args(list(argv))


def show(values: argparse.Namespace) -> None:
    """Print the settings, as the 2020 program did."""
    print(f"{' Settings ':=^80}")
    for name, value in vars(values).items():
        print(f"{name + ':':<30}{value}")
    print("=" * 80, flush=True)


def exit_code(name: str, command: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    """Run a command: 0 done, 2 bad input (one line says which), 130 Ctrl-C."""
    try:
        command(argv)
    except NwsError as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk or a folder that may not be written, where no module could say it better
        print(f"{name}: {error.filename or 'file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130
    return 0
