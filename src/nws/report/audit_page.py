"""An audit -> one HTML file: bars, evidence along depth, and whether to trust it. No script, no request leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from nws.auditing import Answer, Audit, Evidence, percent, share
from nws.errors import NwsError
from nws.report.page import POLICY, digest
from nws.tasks.results import write as write_text

_COLOURS = 8  # c0 to c7 in audit.css; further classes share the last
_LAYERS = 200  # that are listed
_BAR, _STRIP, _HIGH = 330, 520, 120  # user units of the drawings


def write_audit(found: Audit, out: str | Path) -> Path:
    """Write the page to `out`, whole or not at all. NwsError when it cannot be written."""
    out = Path(out)
    if out.is_dir() or not out.parent.is_dir():
        raise NwsError(f"{out} cannot be written: name a file in a folder that exists")
    write_text(out, audit_html(found))
    return out


def audit_html(found: Audit) -> str:
    """The page as text. Everything that comes from the file or a model is escaped."""
    static = files("nws.report") / "static"
    style = "".join((static / name).read_text(encoding="utf-8") for name in ("page.css", "audit.css"))
    title = escape(f"Audit of {Path(found.file).name}")
    sections = [_property(name, [a for a in found.answers if a.property == name]) for name in found.best]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}; style-src {digest(style)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<p class="eyebrow">Audit of <b>{escape(found.file)}</b>, {escape(found.format)}: {found.weights:,} weights</p>
<h1>{escape(found.sentence)}</h1>
{_warning([*found.reasons, *(answers[0].contradiction for answers in found.contradictions.values())])}
{_architecture(found)}
{"".join(sections)}
{_listed("Models that could not read it", [f"{s.model} ({s.property}): {s.reason}" for s in found.skipped])}
{_layers(found)}
{_listed("Notes on the file", found.notes)}
</main>
<footer class="quiet">Every class is taken to be as likely beforehand. A probability is what the slices say together, calibrated
on nets that the model had not seen; it holds for nets like those of its zoo. What each slice says is not calibrated.</footer>
</body>
</html>
"""


def _warning(reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    return f'<div class="warning"><b>Why not to trust it</b><ul>{items}</ul></div>'


def _architecture(found: Audit) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in found.architecture.stated
    )
    wrong = "".join(f'<p class="quiet">{escape(check.sentence)}</p>' for check in found.checks if not check.agrees)
    return f'<section><h2>Read from the file</h2><div class="scroll"><table class="read">{rows}</table></div>{wrong}</section>'


def _property(name: str, answers: Sequence[Answer]) -> str:
    return f"<section><h2>{escape(name)}</h2>{''.join(_answer(a) for a in answers)}</section>"


def _answer(a: Answer) -> str:
    trust = "to be trusted" if a.trusted else '<span class="no">not to be trusted</span>'
    c = a.calibration
    measured = (
        f"right on {c.accuracy:.0%} of {c.nets} held-out nets ({c.low:.0%} to {c.high:.0%}); calibration error {c.ece_after:.1%}, "
        f"{c.ece_before:.1%} without calibration"
        if c
        else "never measured on held-out nets"
    )
    far = f"; further from the zoo than {share(a.percentile)} of its own nets" if a.percentile is not None else ""
    weak = escape(" ".join(["", *a.weaknesses, a.contradiction]).rstrip())
    about = f'<p class="quiet">{escape(a.meta)}, {trust}: {measured}{far}.{weak}</p>'
    depth = (
        _depth(a) if len(a.evidence) > 1 else '<p class="quiet">It reads the net as a whole: there is no evidence along depth.</p>'
    )
    return f'<article>{about}<div class="answer"><div>{_bars(a)}</div><div>{depth}</div></div></article>'


def _bars(a: Answer) -> str:
    rows = []
    for k, (label, p) in enumerate(zip(a.classes, a.probabilities)):
        y, clear = 24 * k, "value clear" if label == a.best else "value"
        rows.append(
            f'<text x="96" y="{y + 15}" text-anchor="end">{escape(_short(label))}<title>{escape(label)}</title></text>'
            f'<rect class="c{min(k, _COLOURS - 1)}" x="104" y="{y + 4}" width="{170 * p:.1f}" height="15" rx="2"></rect>'
            f'<text class="{clear}" x="{110 + 170 * p:.1f}" y="{y + 16}">{escape(percent(p))}</text>'
        )
    chance = 104 + 170 / len(a.classes)
    high = 24 * len(a.classes)
    line = f'<line class="chance" x1="{chance:.1f}" x2="{chance:.1f}" y1="0" y2="{high}"><title>chance</title></line>'
    title = f"{a.property}: {a.best} {percent(max(a.probabilities))}"
    return f'<svg viewBox="0 0 {_BAR} {high + 4}" role="img" aria-label="{escape(title)}">{line}{"".join(rows)}</svg>'


def _depth(a: Answer) -> str:
    """A column per slice, from the first layer to the last: the probabilities stacked, the names of the layers below."""
    wide = _STRIP / len(a.evidence)
    columns = []
    for k, slice_ in enumerate(a.evidence):
        top = 0.0
        for c, p in enumerate(slice_.probabilities):
            title = f"{slice_.layer}, weights {slice_.start:,} to {slice_.stop:,}: {a.classes[c]} {percent(p)}"
            columns.append(
                f'<rect class="c{min(c, _COLOURS - 1)}" x="{k * wide:.2f}" y="{top:.2f}" width="{wide - 1:.2f}" '
                f'height="{_HIGH * p:.2f}"><title>{escape(title)}</title></rect>'
            )
            top += _HIGH * p
    title = f"Evidence along depth in {len(a.evidence)} slices"
    drawn = "".join(columns) + _ticks(a.evidence, wide)
    return (
        f'<svg viewBox="0 0 {_STRIP} {_HIGH + 26}" role="img" aria-label="{title}">{drawn}</svg>'
        f'<p class="quiet">{title} of {a.evidence[0].stop - a.evidence[0].start:,} weights, from the first layer to the last</p>'
    )


def _ticks(evidence: Sequence[Evidence], wide: float) -> str:
    """Where each layer begins, named where there is room."""
    made, free = [], 0.0
    for layer, run in groupby(enumerate(evidence), key=lambda item: item[1].layer):
        x = next(run)[0] * wide
        made.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_HIGH}" y2="{_HIGH + 6}"></line>')
        name = _short(layer)
        if x >= free and x + 6.5 * len(name) < _STRIP:
            made.append(f'<text class="tick" x="{x + 2:.1f}" y="{_HIGH + 19}">{escape(name)}</text>')
            free = x + 6.5 * len(name) + 8
    return "".join(made)


def _layers(found: Audit) -> str:
    rows = []
    for layer in found.layers[:_LAYERS]:
        shapes = ", ".join(f"{role} {' x '.join(map(str, shape))}" for role, shape in layer["shapes"].items())
        cells = f'<td>{layer["part"]}</td><td class="shape">{escape(shapes)}</td><td class="number">{layer["weights"]:,}</td>'
        rows.append(f'<tr><th scope="row">{escape(layer["name"][:120])}</th>{cells}</tr>')
    more = f'<p class="quiet">and {len(found.layers) - _LAYERS:,} more</p>' if len(found.layers) > _LAYERS else ""
    head = '<tr><th scope="col">layer</th><th scope="col">part</th><th scope="col">holds</th><th scope="col">weights</th></tr>'
    table = f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
    return f"<details><summary>{len(found.layers):,} layers, in theta's order</summary>{table}{more}</details>"


def _listed(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>{title} ({len(lines)})</summary><ul>{items}</ul></details>"


def _short(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:13]}…"
