"""A figure beside its bar: what each benchmark returns, how it is printed, and where it is kept."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any, Self

from benchmarks.harness.processes import ROOT

RESULTS = ROOT / ".cache" / "bench"  # one JSON file for each benchmark, of its last run


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table. A row without a bar stands beside the others for comparison."""

    name: str  # what was measured, in words: "bind_status, 500 in flight"
    figure: float
    unit: str  # "x echo", "ms", "/s", "MB", "queries"
    low: float | None = None  # the spread: the least and the most of all rounds
    high: float | None = None
    bar: float | None = None
    at_most: bool = False  # the bar is an upper limit
    cpu: Mapping[str, float] = field(default_factory=dict)  # microseconds per message, by process
    note: str = ""  # the slowest statement of a page, for example

    @classmethod
    def of(
        cls, name: str, values: Sequence[float], unit: str, *, bar: float | None = None, at_most: bool = False,
        cpu: Mapping[str, Sequence[float]] | None = None, note: str = "",
    ) -> Self:  # fmt: skip
        """The median of one value per round, and their spread; `cpu` has one value per round too."""
        medians = {process: median(found) for process, found in (cpu or {}).items()}
        low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
        return cls(
            name=name, figure=median(values), unit=unit, low=low, high=high,
            bar=bar, at_most=at_most, cpu=medians, note=note,
        )  # fmt: skip

    @property
    def verdict(self) -> str:
        """`meets`, `below`, or nothing where there is no bar."""
        if self.bar is None:
            return ""
        return "meets" if (self.figure <= self.bar if self.at_most else self.figure >= self.bar) else "below"

    def cells(self) -> list[str]:
        """Name, figure, spread, bar, verdict, and CPU per message."""
        spread = "" if self.low is None or self.high is None else f"{_short(self.low)} to {_short(self.high)}"
        bar = "" if self.bar is None else f"{'<=' if self.at_most else '>='} {_short(self.bar)}"
        cpu = ", ".join(f"{process} {used:.0f}" for process, used in self.cpu.items())
        return [self.name, f"{_short(self.figure)} {self.unit}", spread, bar, self.verdict, cpu]


HEAD = ["", "median", "spread", "bar", "", "CPU, us per message"]


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print a table, with the notes below their rows."""
    table = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    print(f"\n{title}\n")
    for number, line in enumerate(table):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number and (note := rows[number - 1].note):
            print(f"      {note}")
    print(flush=True)


def state_of_machine() -> dict[str, Any]:
    """When a run began, on how many cores, and how many programs were running already."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def keep(name: str, title: str, rows: Sequence[Row], state: Mapping[str, Any]) -> None:
    """Save the rows of a benchmark for docs/performance.md, with what was true when it began."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    saved = {**state, "title": title, "rows": [asdict(row) for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(saved, indent=1))


def kept() -> dict[str, dict[str, Any]]:
    """What was saved, by benchmark."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def _short(figure: float) -> str:
    """Three digits are enough."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"
