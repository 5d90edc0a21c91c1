"""Makes of a folder's results.csv the tables of targets and what was reached: table.md.

    python3 benchmarks/report.py FOLDER

FOLDER is one that benchmarks/run or benchmarks/anywhere wrote.
"""

# SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

import math
import pathlib
import statistics
import sys

import results as kept
import targets
from results import digits, spread

NOT_QUIET = "THE MACHINE IS NOT QUIET: load {load} before the first round. NOT FOR PUBLISHING."

RELATIONS = {"≥": lambda a, b: a >= b, "≤": lambda a, b: a <= b, "<": lambda a, b: a < b,
             "=": lambda a, b: a == b}
TITLES = {"service": "In service", "saturated": "Saturated, and other figures"}


def markdown(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join(str(c).ljust(w) for c, w in zip(cells, widths)) + " |"
    return "\n".join([line(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|",
                      *map(line, rows)])


def is_met(target, values):
    return RELATIONS[target.relation](statistics.median(values), target.target)


def verdict(target, values):
    if is_met(target, values):
        return "yes"
    if target.in_spread and len(values) > 2 and target.relation in "≤<" and \
            RELATIONS[target.relation](kept.lower_quartile(values), target.target):
        return "within the spread"
    return "NO"


class Report:
    """Of one folder."""

    def __init__(self, results):
        self.results = results

    def head(self):
        machine = self.results.machine
        lines = [f"{machine.get('model', '?')}, {machine.get('cores', '?')} cores, "
                 f"{machine.get('kernel', '?')}"]
        lines += [machine[key] for key in ("compiler", "command") if machine.get(key)]
        rounds = len({n for found in self.results.values.values() for n in found})
        lines.append(f"{rounds} rounds; load {machine.get('load', '?')} before the first")
        if not self.results.is_quiet():
            lines.append(NOT_QUIET.format(load=machine.get("load", "?")))
        failed = sum(line.startswith("failed: ") for line in self.results.lines("errors.txt"))
        if failed:
            lines.append(f"{failed} RUNS FAILED: errors.txt says which")
        return "\n".join(lines)

    def by_cell(self, measure, target):
        """The values of each cell that was measured."""
        found = {}
        for cell in self.results.cells(measure.name):
            if target.cells(self.results, cell):
                values = target.values(self.results, measure.name, cell)
                if values:
                    found[cell] = values
        return found

    def row(self, measure, target):
        what = (target.what, f"{target.relation} {digits(target.target)}")
        found = self.by_cell(measure, target)
        if not found:
            return (*what, "not measured", "")
        if target.is_mean:
            logs = [math.log(statistics.median(values)) for values in found.values()]
            mean = math.exp(statistics.fmean(logs))
            return (*what, digits(mean), verdict(target, [mean]))
        worst = (min if target.relation == "≥" else max)(
            found, key=lambda cell: statistics.median(found[cell]))
        text = spread(found[worst])
        if len(found) == 1:
            return (*what, text, verdict(target, found[worst]))
        verdicts = [verdict(target, values) for values in found.values()]
        met = sum(v != "NO" for v in verdicts)
        # The worst cell may be within its spread where another is not.
        answer = next(v for v in ("NO", "within the spread", "yes") if v in verdicts)
        return (*what, f"{text} at {worst}; {met} of {len(found)} cells", answer)

    def targets(self, group):
        rows = [self.row(measure, target) for measure in targets.MEASURES
                if measure.group == group and self.results.cells(measure.name)
                for target in measure.targets]
        return markdown(("what", "target", "reached: median (extremes), worst cell", "met"), rows)

    def cells_of(self, measure):
        """Every cell against every target."""
        columns = [(t, self.by_cell(measure, t)) for t in measure.targets if not t.is_mean]
        columns = [(t, found) for t, found in columns if found]
        cells = [c for c in self.results.cells(measure.name) if any(c in f for _, f in columns)]
        if len(cells) < 2:
            return ""
        rows = []
        for cell in cells:
            row = [cell]
            for target, found in columns:
                mark = {"yes": "", "NO": " **NO**"}
                row.append(spread(found[cell]) +
                           mark.get(verdict(target, found[cell]), " (spread)")
                           if cell in found else "–")
            rows.append(row)
        heads = [f"{t.what} ({t.relation} {digits(t.target)})" for t, _ in columns]
        return markdown((measure.name, *heads), rows)

    def implementations(self, measure):
        """Medians of everybody, so that a peer that wins is seen."""
        names = self.results.implementations(measure.name)
        cells = self.results.cells(measure.name)

        def shown(cell, name, quantity, scale):
            median = self.results.median(measure.name, cell, name, quantity)
            return "–" if median is None else digits(median * scale)
        tables = []
        if len(cells) == 1:
            columns = [s for s in measure.shown
                       if any(self.results.get(measure.name, cells[0], n, s[0]) for n in names)]
            rows = [(name, *(shown(cells[0], name, q, scale) for q, scale, _ in columns))
                    for name in names]
            return [markdown((measure.name, *(label for _, _, label in columns)), rows)]
        for quantity, scale, label in measure.shown:
            rows = [(cell, *(shown(cell, name, quantity, scale) for name in names))
                    for cell in cells]
            rows = [row for row in rows if set(row[1:]) != {"–"}]
            if rows:
                tables.append(markdown((label, *names), rows))
        return tables

    def text(self):
        parts = [self.head()]
        groups = [g for g in TITLES if any(m.group == g and self.results.cells(m.name)
                                           for m in targets.MEASURES)]
        for group in groups:
            parts += [f"## {TITLES[group]}", self.targets(group)]
        for group in groups:
            parts.append(f"## {TITLES[group]}: every cell, every implementation")
            for measure in targets.MEASURES:
                if measure.group == group and self.results.cells(measure.name):
                    parts += [self.cells_of(measure), *self.implementations(measure)]
        return "\n\n".join(filter(None, parts))

    def summary(self):
        return self.text().partition(": every cell")[0].rpartition("\n\n## ")[0]


def write(results):
    """Writes table.md; returns its first part: the targets."""
    made = Report(results)
    (results.folder / "table.md").write_text(made.text() + "\n", encoding="utf-8")
    return made.summary()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(write(kept.Results(pathlib.Path(sys.argv[1])).read()))
