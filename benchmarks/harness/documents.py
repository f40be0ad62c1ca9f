"""Writes the last results into docs/performance.md: a table for each benchmark, and a plot of the rates."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from benchmarks.harness import report
from benchmarks.harness.processes import ROOT
from benchmarks.harness.report import HEAD, Row

PAGE = ROOT / "docs/performance.md"
PLOT = ROOT / "docs/images/performance.svg"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

BUSY = 2.0  # programs that ran already, for each core
WIDTH, LEFT, RIGHT = 760, 150, 80  # pixels
BAR, GAP, HEAD_ROOM = 12, 12, 44
COLOURS = ("#2f81f7", "#79b8ff", "#8b949e", "#d29922", "#db6d28")  # readable on white and on black
STYLE = """text{font:12px system-ui,sans-serif;fill:#1f2328}.small{font-size:10px}.line{stroke:#8c959f}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}}"""


def write() -> None:
    """Put the results of the last runs into the page, and draw the plot."""
    results = report.kept()
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "\n".join(line for name, kept in results.items() for line in _table(name, kept))
    PAGE.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}")
    if "binds" in results:
        PLOT.write_text(plot(results["binds"]["rows"]))


def _table(name: str, kept: dict[str, Any]) -> Iterator[str]:
    """One benchmark in Markdown, with when and on what kind of machine it ran."""
    day = datetime.fromisoformat(kept["at"]).date()
    how = f"{kept['cores']} cores, load {kept['load']:.1f} before it began"
    if kept["load"] > BUSY * kept["cores"]:
        how += ": **a busy machine**, so that rates and times say little"
    size = ", small sizes and one round" if kept["quick"] else ""
    yield f"\n### {kept['title']}\n"
    yield f'`make bench ARGS="--only {name}"` on {day}{size}; {how}.\n'
    yield f"| What | {' | '.join(cell or 'Verdict' for cell in HEAD[1:])} |"
    yield "|---" * len(HEAD) + "|"
    for one in kept["rows"]:
        cells = Row(**one).cells()
        note = f"<br>{one['note']}" if one["note"] else ""
        yield f"| {cells[0]}{note} | {' | '.join(cells[1:])} |"


def plot(rows: list[dict[str, Any]]) -> str:
    """Answers per second of each contender, a group of bars for each kind of request."""
    rates: dict[str, dict[str, float]] = {}
    for one in rows:
        work, _, contender = one["name"].partition(": ")
        if one["unit"] == "/s":
            rates.setdefault(work, {})[contender] = one["figure"]
    names = list(next(iter(rates.values())))
    colours = dict(zip(names, COLOURS, strict=False))
    scale = (WIDTH - LEFT - RIGHT) / max(rate for group in rates.values() for rate in group.values())
    parts, x, y = [], 0, HEAD_ROOM
    for name in names:
        parts.append(f'<rect x="{x}" y="4" width="12" height="12" fill="{colours[name]}"/>')
        parts.append(f'<text x="{x + 17}" y="14">{name}</text>')
        x += 40 + 7 * len(name)
    parts.append(f'<text class="small" x="{LEFT}" y="34">answers per second</text>')
    for work, group in rates.items():
        parts.append(f'<text x="{LEFT - 10}" y="{y + BAR * len(group) / 2 + 4}" text-anchor="end">{work}</text>')
        for name, rate in group.items():
            width = max(1, rate * scale)
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{width:.0f}" height="{BAR - 2}" fill="{colours[name]}"/>'
                f'<text class="small" x="{LEFT + width + 5:.0f}" y="{y + BAR - 3}">{rate:,.0f}</text>'
            )
            y += BAR
        y += GAP
    parts.append(f'<line class="line" x1="{LEFT}" y1="{HEAD_ROOM - 6}" x2="{LEFT}" y2="{y - GAP + 4}"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", "<title>Answers per second</title>", *parts, "</svg>", ""])


if __name__ == "__main__":
    write()
