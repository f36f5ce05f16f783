"""What users see in the terminal: tables (progress is in bars.py). Nothing here computes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from nws.bars import SamplingBar, console, counted, duration, progress

if TYPE_CHECKING:
    from nws.auditing import Answer, Audit, Calibration
    from nws.gallery import Made
    from nws.tasks.protocol import Result

out = Console(highlight=False, width=None if sys.stdout.isatty() else 132)  # a file or a pipe has no width of its own

__all__ = ["SamplingBar", "console", "counted", "duration", "out", "progress"]

_LAYERS = 40  # of a stranger's net that are listed
_WRITERS, _IN_HAND = 12, 6  # processes at a zoo that are listed, and nets of each


def results(rows: Sequence[Result]) -> Group:
    """The tables of `nws classify` and `nws demo`: of classes, of numbers, whose errors are no accuracies, and of single edges."""
    edges = [r for r in rows if r.prevalence is not None]
    nets = [r for r in rows if r.prevalence is None]
    kinds = ([r for r in nets if r.accuracy is not None], [r for r in nets if r.accuracy is None], edges)
    return Group(*(shown(some) for shown, some in zip((_classes, _numbers, _edges), kinds) if some))


def _classes(rows: Sequence[Result]) -> Table:
    """Votes are shown where slices were read."""
    votes = any(r.slice_length is not None for r in rows)
    headings = ("accuracy", "95% interval", *(["vote"] if votes else []), "chance")

    def cells(r: Result) -> list[str]:
        accuracy = _percent(r.accuracy or 0.0)
        shown = [f"[bold]{accuracy}[/]" if r.low > r.chance else accuracy, f"{_percent(r.low)}-{_percent(r.high)}"]
        return shown + ([_percent(r.vote)] if votes else []) + [_percent(r.chance)]

    explained = "Bold: the whole interval is better than chance." + (" Vote: all slices of a net decide together." if votes else "")
    return _rows("What can be read from the weights", rows, headings, cells, explained)


def _numbers(rows: Sequence[Result]) -> Table:
    def cells(r: Result) -> list[str]:
        r2 = _with_interval(r.r2, r.r2_low, r.r2_high)
        clear = r.r2_low is not None and r.r2_low > 0
        errors = [f"{value:.3g}" for value in (r.error or 0.0, r.chance)]
        return [f"[bold]{r2}[/]" if clear else r2, _with_interval(r.tau, r.tau_low, r.tau_high), *errors]

    headings = ("R2 (95% interval)", "tau (95% interval)", "error", "always the median")
    units = dict.fromkeys(f"{r.property} in {r.unit}" for r in rows if r.unit and r.unit != r.property.replace("_", " "))
    explained = "Bold: the whole interval of R2 is above 0, the R2 of always saying the mean. Error: mean absolute error."
    return _rows("Numbers that can be read from the weights", rows, headings, cells, " ".join([explained, *map(sentence, units)]))


def _edges(rows: Sequence[Result]) -> Table:
    def cells(r: Result) -> list[str]:
        accuracy = f"{100 * (r.accuracy or 0):.2f}% {100 * r.low:.2f}-{100 * r.high:.2f}"
        areas = [_with_interval(r.auc, r.auc_low, r.auc_high, 4), _with_interval(r.ap, r.ap_low, r.ap_high, 4)]
        return [accuracy, _percent(r.chance), _percent(r.prevalence or 0.0), *areas]

    headings = ("accuracy, 95%", "majority", "kept", "ROC-AUC", "average precision")
    explained = "Majority: the accuracy of always saying what most edges are. Kept: the share of edges."
    return _rows("What can be read of single edges", rows, headings, cells, explained)


def _rows(
    title: str, rows: Sequence[Result], headings: Sequence[str], cells: Callable[[Result], list[str]], explained: str
) -> Table:
    shown = _table(title)
    for heading in ("property", "meta-classifier", "reads"):
        shown.add_column(heading, no_wrap=True)
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    for k, r in enumerate(rows):
        first = k == 0 or rows[k - 1].property != r.property
        if first and k:
            shown.add_section()
        whole, of = {"all": ("whole nets", "")}.get(r.part, (f"whole {r.part} part", f" of {r.part}"))
        reads = whole if r.slice_length is None else f"{r.slice_length:,} weights{of}"
        reads += f" without {', '.join(r.without)}" if r.without else ""
        shown.add_row(escape(r.property) if first else "", r.meta, reads, *cells(r))
    notes = list(dict.fromkeys(note for r in rows for note in r.notes))
    trained, tested = (sorted({getattr(r, name) for r in rows}) for name in ("n_train", "n_test"))
    nets = f"Nets in each round: {_range(trained)} to learn from, {_range(tested)} others to be tested on."
    shown.caption = escape("\n".join([explained, nets, *map(sentence, notes)]))
    return shown


def _with_interval(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    if value is None or low is None or high is None:
        return "none"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def benchmarks(rows: Sequence[dict[str, Any]]) -> Table:
    """The table of `nws bench`: rows as `nws.bench.rows.Row.to_dict` gives them."""
    shown = _table("nws on this machine")
    for heading in ("what", "against"):
        shown.add_column(heading, overflow="fold")
    for heading in ("value", "ratio", "aimed at", ""):
        shown.add_column(heading, justify="right", no_wrap=True)
    for k, row in enumerate(rows):
        if k and rows[k - 1]["benchmark"] != row["benchmark"]:
            shown.add_section()
        if row["skipped"]:
            shown.add_row(escape(row["what"]), escape(f"not measured: {row['skipped']}"), "", "", "", "")
            continue
        aim = "" if row["reached"] is None else f">= {row['target']:g}" if row["target"] is not None else f"<= {row['limit']:g}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        verdict = {None: "", True: "[green]reached[/]", False: "[red]missed[/]"}[row["reached"]]
        value = f"{row['value']:,.0f}" if row["value"] >= 100 else f"{row['value']:.3g}"
        shown.add_row(escape(row["what"]), escape(row["against"] or ""), f"{value} {row['unit']}", ratio, aim, verdict)
    if about := next((row for row in rows if "machine" in row), None):
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        shown.caption = f"{about['machine']}, {about['cores']} cores, {about['vectors']}; commit {about['commit']}; {versions}"
    return shown


def _range(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def zoo_table(summary: dict[str, Any]) -> Table:
    """The table of `nws info` and of the end of `nws sample`."""
    planned = f" of {summary['planned']} planned" if summary["planned"] and summary["planned"] > summary["nets"] else ""
    rows = [
        ("nets", f"{summary['nets']:,}{planned}, {_counts(summary['status'])}"),
        ("split", _counts(summary["split"])),
        ("snapshots", _span(summary["snapshots"])),
        ("weights", _span(summary["weights"])),
        ("epochs", _span(summary["epochs"])),
        ("size", f"{summary['bytes'] / 1e6:,.1f} MB"),
        ("training", f"{duration(summary['seconds'] or 0)} of one core"),
    ]
    rows += _at_work(summary)
    if summary["damaged"]:
        rows.append(("damaged", f"{count(summary['damaged'], 'file')}: run `nws verify {summary['path']}`"))
    if summary["failed"]:
        number, why = next(iter(summary["failed"].items()))
        rows.append(("failed", f"{count(len(summary['failed']), 'net')}, such as net {number} ({why}): `nws sample` tries again"))
    for name, counts in summary["properties"].items():
        rows.append((name, _span(counts) if "min" in counts else _counts(counts)))
    rows += [(name, _span(span)) for name, span in summary["measured"].items()]
    for name, a in summary["accuracies"].items():
        if a["nets"]:
            of = "(image set not recorded)" if name == "not recorded" else f"on {name}"
            rows.append((f"test accuracy {of}", _reached(a)))
    return facts(rows, summary["path"])


def _at_work(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Who writes to the zoo now, and how long that takes."""
    if not summary["writers"]:
        return []
    rate = sum(writer["rate"] for writer in summary["writers"])
    left = (summary["planned"] or 0) - summary["nets"]
    said = f", {rate:,.0f} nets/h" + (f", {duration(3600 * left / rate)} left" if left > 0 else "") if rate else ""
    rows = [("at work", f"{len(summary['writers'])} process{'es' * (len(summary['writers']) > 1)}{said}")]
    for writer in summary["writers"][:_WRITERS]:
        in_hand = ", ".join(map(str, writer["in_hand"][:_IN_HAND])) + (" ..." if len(writer["in_hand"]) > _IN_HAND else "")
        share = f", share {writer['share']}" if writer["share"] else ""
        told = f"{writer['doing']}{share}, {writer['done']:,} nets so far" + (f", in hand {in_hand}" if in_hand else "")
        rows.append((f"  {writer['host']} {writer['pid']}", f"{told}, last heard of {duration(writer['heartbeat'])} ago"))
    if len(summary["writers"]) > _WRITERS:
        rows.append(("", f"and {len(summary['writers']) - _WRITERS} more: --json has all"))
    return rows


def _reached(a: dict[str, Any]) -> str:
    if not a["measured"]:
        return "not measured"
    some = f" (of {a['measured']:,} nets, {a['nets'] - a['measured']:,} were not measured)" if a["measured"] < a["nets"] else ""
    return f"mean {a['mean']:.1%}, {a['min']:.1%} to {a['max']:.1%}, {a['converged']:.0%} converged{some}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def _span(span: dict[str, Any]) -> str:
    low, high = (f"{v:,}" if isinstance(v, int) else "none" if v is None else f"{v:.2g}" for v in (span["min"], span["max"]))
    return low if low == high else f"{low} to {high}"


def gallery(made: Sequence[Made], zoo: str) -> Table:
    """The table of `nws figures`: where each figure is, or why there is none."""
    return facts([(m.name, f"{m.says}: {m.files[0] if m.files else f'skipped, {m.skipped}'}") for m in made], f"Figures of {zoo}")


def show_audit(found: Audit) -> None:
    """What `nws audit` prints: a plain sentence, what the file shows, the answers, and the sentences on trust."""
    out.print(f"[bold]{escape(found.sentence)}[/]")
    out.print(f"{escape(found.file)}: {_number(found.weights, 'weight')} in {_number(len(found.layers), 'layer')}", soft_wrap=True)
    out.print(facts(found.architecture.stated, "Read from the file"))
    if found.answers:
        out.print(_answers(found))
    else:
        kinds = [
            (layer["name"], ", ".join(f"{r} {tuple(s)}" for r, s in layer["shapes"].items())) for layer in found.layers[:_LAYERS]
        ]
        more = [("", f"and {len(found.layers) - _LAYERS} more")] if len(found.layers) > _LAYERS else []
        out.print(facts([*kinds, *more], "Layers"))
    lines = [("why not to trust it", reason) for reason in found.reasons]
    lines += [("contradiction", answers[0].contradiction) for answers in found.contradictions.values()]
    lines += [(f"not to trust {a.model}", weakness) for a in found.answers for weakness in a.weaknesses]
    lines += [("model against file", check.sentence) for check in found.checks if not check.agrees]
    for reason in dict.fromkeys(s.reason for s in found.skipped):
        lines.append(("skipped", f"{', '.join(s.model for s in found.skipped if s.reason == reason)}: {sentence(reason)}"))
    lines += [("note", sentence(note)) for note in found.notes]
    if lines:
        out.print(facts(lines, "What to know"))


def _answers(found: Audit) -> Table:
    shown = _table("Asked of meta-classifiers")
    for heading in ("property", "model", "says", "slices", "trust"):
        shown.add_column(heading, overflow="fold")
    shown.add_column("right on held-out nets", no_wrap=True)
    for k, a in enumerate(found.answers):
        if k and found.answers[k - 1].property != a.property:
            shown.add_section()
        votes = f"{a.votes[a.classes.index(a.best)]} of {len(a.evidence)}" if len(a.evidence) > 1 else "whole"
        measured = calibration(a.calibration) if a.calibration else "not measured"
        trust = "[green]yes[/]" if a.trusted else "[red]no[/]"
        shown.add_row(escape(a.property), escape(a.meta), escape(_probabilities(a)), votes, trust, measured)
    shown.caption = "Slices: how many vote for the most probable class. Every class counts as equally likely beforehand."
    return shown


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def calibration(measured: Calibration) -> str:
    """How good a meta-classifier's votes are."""
    span = f"{measured.accuracy:.0%} ({measured.low:.0%}-{measured.high:.0%})"
    return f"{span}, calibration error {measured.ece_after:.0%}"


def _probabilities(a: Answer) -> str:
    ranked = sorted(zip(a.probabilities, a.classes, a.percentages), reverse=True)
    return ", ".join(f"{label} {value}" for _, label, value in ranked[:4])


def sentence(text: str) -> str:
    """A remark as a sentence: a large letter first, but not in a name such as conv1.weight, and a full stop."""
    first = text.partition(" ")[0]
    start = text[:1].upper() if first.isalpha() and first.islower() else text[:1]
    return start + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def count(n: int, noun: str) -> str:
    """ "1 net", "2 nets"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def facts(rows: Sequence[tuple[str, str]], title: str) -> Table:
    """Two columns: a name and what is known about it."""
    shown = _table(title)
    shown.show_header = False
    for name, value in rows:
        shown.add_row(escape(name), escape(value))
    return shown


def readings(rows: Sequence[Any]) -> Table:
    """The table of `nws benchmark read`: rows are `nws.benchmark.scoring.Row`."""
    shown = _table("reading the weights of nets that nobody had seen")
    shown.add_column("", overflow="fold")
    shown.add_column("found (95% interval)", overflow="fold")
    for heading in ("skill", "ECE", "learned", "ms a net"):
        shown.add_column(heading, justify="right", no_wrap=True)
    answered = [row for row in rows if not row.skipped]
    before = None
    for row in answered:
        if (row.track, row.target) != before:
            shown.add_section()
            chance = "" if row.chance is None else f"chance {row.chance:.0%}"
            shown.add_row(f"[bold]{escape(row.track)}: {escape(row.target.replace('_', ' '))}[/]", chance)
            before = row.track, row.target
        plain = [f"{value:.2f}" if value is not None else "" for value in (row.skill, row.ece)]
        seconds = "" if row.train_seconds is None else f"{row.train_seconds:,.2g} s"
        shown.add_row(f"  {escape(row.model)}", _reading(row), *plain, seconds, f"{row.read_ms:,.2g}" if row.read_ms else "")
    if len(answered) < len(rows):
        shown.caption = f"{len(rows) - len(answered)} questions do not suit the reader that was asked: --json says why"
    return shown


def _reading(row: Any) -> str:
    if row.accuracy is not None:
        return f"accuracy {row.accuracy:.0%} ({row.low:.0%} to {row.high:.0%})"
    if row.auc is not None:
        return f"AUC {row.auc:.2f}"
    r2 = "none" if row.r2 is None else f"{row.r2:.2f} ({row.r2_low:.2f} to {row.r2_high:.2f})"
    return f"R2 {r2}" + ("" if row.tau is None else f", tau {row.tau:.2f}")
