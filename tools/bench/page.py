"""docs/benchmarks.json, .md and .svg: what was measured, row by row, on whatever day each was measured."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.figures import Result, Spread, Target

Line = Mapping[str, Any]
HEAD = """# Benchmarks

Written by `make bench` (`make bench ROW=P1` for one row; `make soak`). A figure is a ratio to a named peer,
measured in turn with it on the same cores, the order changing each round: the median of the pairs, then the
lowest and the highest. Servers have one worker on core 0; load, upstream and database are on core 1. *CPU* is
what the server's whole process tree used per request, ours and the peer's: the steadier figure on a busy
machine. *Load before* is the machine's load average before the row: above 2 on two cores others were at work.
Peers come from Debian, PyPI and npm.

![Each ratio as a part of its target](benchmarks.svg)

| row | what | peer | ours | peer's | ratio (spread) | target | CPU µs | |
|---|---|---|---|---|---|---|---|---|
"""
BAR, GAP, LEFT, SCALE = 14, 6, 430, 220
MOST = 3.0


def document(result: Result) -> Line:
    """Write a result as a row of benchmarks.json, without what the run as a whole knows."""
    return {
        "id": result.row,
        "what": result.work,
        "ratio": rounded(result.ratio.median),
        "spread": [rounded(result.ratio.low), rounded(result.ratio.high)],
        "target": str(result.target) if result.target else None,
        "met": result.is_met,
        "advantage": rounded(advantage(result)),
        "peer": result.peer,
        "ours": rounded(result.ours.median),
        "theirs": rounded(result.theirs.median),
        "unit": result.unit,
        "cpu_us": [rounded(each) for each in result.cpu_us] if result.cpu_us else None,
        "pairs": result.pairs,
        "note": result.note,
    }


def advantage(result: Result) -> float:
    """Say what part of its target a ratio reaches: 1 is the target, more is better; the ratio without one."""
    target, ratio = result.target or Target(number=1), result.ratio.median
    return target.number / max(ratio, 1e-9) if target.at_most else ratio / target.number


def merged(before: Sequence[Line], rows: Sequence[Line]) -> list[Line]:
    """Put rows measured now in the place of those of the same ids."""
    now = {row["id"] for row in rows}
    kept = [row for row in before if row["id"] not in now]
    return sorted([*kept, *rows], key=lambda row: str(row["id"]))


def write(folder: Path, rows: Sequence[Line]) -> None:
    """Merge rows into the folder's files and write all three anew."""
    path = folder / "benchmarks.json"
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    every = merged(before, rows)
    path.write_text(json.dumps({"rows": every}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "benchmarks.md").write_text(page(every), encoding="utf-8")
    (folder / "benchmarks.svg").write_text(picture(every), encoding="utf-8")


def page(rows: Sequence[Line]) -> str:
    """Write the page: the table, then how each row was measured."""
    return HEAD + "".join(map(table_line, rows)) + "\n## How\n\n" + "".join(how(rows))


def table_line(row: Line) -> str:
    low, high = row["spread"]
    cpu = " / ".join(f"{each:g}" for each in row["cpu_us"]) if row["cpu_us"] else ""
    verdict = "**behind**" if not row["met"] else "met" if row["target"] else ""
    cells = [row["id"], row["what"], row["peer"], f"{row['ours']:,g} {row['unit']}", f"{row['theirs']:,g}"]
    ratio = f"**{row['ratio']:g}** ({low:g} to {high:g})"
    return "| " + " | ".join([*cells, ratio, row["target"] or "none", cpu, verdict]) + " |\n"


def how(rows: Iterable[Line]) -> list[str]:
    """Say for each id when, with what and by which command it was measured."""
    by_id: dict[str, list[Line]] = {}
    for row in rows:
        by_id.setdefault(row["id"], []).append(row)
    return [_how(id, each) for id, each in by_id.items()]


def _how(id: str, rows: Sequence[Line]) -> str:
    first = rows[0]
    versions = "".join(f"; {name} {version}" for name, version in first["versions"].items())
    notes = "".join(f"  {note}\n" for note in dict.fromkeys(row["note"] for row in rows) if note)
    skipped = "".join(f"  Left out: {each}\n" for each in first["skipped"])
    when = f"{first['measured_on']}, {first['pairs']} pairs, load before {first['load']:g}"
    return f"- **{id}** `{first['command']}`: {when}{versions}.\n{notes}{skipped}"


def picture(rows: Sequence[Line]) -> str:
    """Draw a bar a row: how much of its target it reaches; the line is the target."""
    height = (BAR + GAP) * len(rows) + 40
    bars = "".join(_bar(place, row) for place, row in enumerate(rows))
    width, at = LEFT + int(SCALE * MOST) + 60, LEFT + SCALE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        f' font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{bars}'
        f'<line x1="{at}" y1="8" x2="{at}" y2="{height - 22}" stroke="#333" stroke-dasharray="4 3"/>\n'
        f'<text x="{at}" y="{height - 6}" text-anchor="middle">the target</text>\n</svg>\n'
    )


def _bar(place: int, row: Line) -> str:
    top = 10 + place * (BAR + GAP)
    length = SCALE * min(float(row["advantage"]), MOST)
    colour = "#2f7d4f" if row["met"] else "#b4472e"
    name = escape(_shortened(f"{row['id']} {row['what']}, {row['peer']}", 72))
    return (
        f'<text x="{LEFT - 8}" y="{top + 11}" text-anchor="end" font-size="11">{name}</text>\n'
        f'<rect x="{LEFT}" y="{top}" width="{length:.0f}" height="{BAR}" fill="{colour}"/>\n'
        f'<text x="{LEFT + length + 6:.0f}" y="{top + 11}">{row["ratio"]:g}</text>\n'
    )


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def rounded(number: float) -> float:
    """Keep three digits, and every digit before the point."""
    return float(round(number)) if abs(number) >= 100 else float(f"{number:.3g}")


def said(result: Result) -> str:
    """Write a result as a line for the terminal."""
    cpu = f", CPU {result.cpu_us[0]:.0f} µs against {result.cpu_us[1]:.0f}" if result.cpu_us else ""
    verdict = (
        f"target {result.target}: {'met' if result.is_met else 'BEHIND'}" if result.target else "no target"
    )
    return (
        f"{result.row}  {result.work}\n    {result.peer}: {spelled(result.ours)} against"
        f" {spelled(result.theirs)} {result.unit}{cpu}\n"
        f"    ratio {spelled(result.ratio)}, {verdict}"
    )


def spelled(series: Spread) -> str:
    numbers = [f"{rounded(each):,g}" for each in (series.median, series.low, series.high)]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})"
