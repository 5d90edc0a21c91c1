"""What the programs printed: values by measure, cell, implementation, quantity and round, kept in
results.csv; and the statistics that targets, report and plots share."""

# SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

import collections
import csv
import statistics

QUIET = 0.3  # the load below which a machine is quiet

HEAD = ["measure", "cell", "implementation", "quantity", "round", "value"]


class Results:
    """Each value is a dictionary by round. A folder holds three files: results.csv; machine.txt,
    with lines 'key: value'; implementations.txt, with lines 'name kind wait-or-dash'."""

    def __init__(self, folder):
        self.folder = folder
        self.values = collections.OrderedDict()
        self.machine, self.kinds = {}, collections.OrderedDict()

    def read(self):
        for line in self.lines("machine.txt"):
            key, _, value = line.partition(": ")
            self.machine[key] = value
        for line in self.lines("implementations.txt"):
            name, kind = line.split()[:2]
            self.kinds[name] = kind
        with open(self.folder / "results.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                # A run that was cut off leaves half a line.
                if None in row.values():
                    continue
                self.add(row["measure"], row["cell"], row["implementation"], int(row["round"]),
                         {row["quantity"]: float(row["value"])})
        return self

    def lines(self, name):
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def add(self, measure, cell, implementation, number, found):
        for quantity, value in found.items():
            key = (measure, cell, implementation, quantity)
            self.values.setdefault(key, {})[number] = value

    def get(self, measure, cell, implementation, quantity):
        return self.values.get((measure, cell, implementation, quantity), {})

    def median(self, *key):
        found = self.get(*key)
        return statistics.median(found.values()) if found else None

    def cells(self, measure):
        return list(dict.fromkeys(cell for m, cell, _, _ in self.values if m == measure))

    def implementations(self, measure):
        return list(dict.fromkeys(i for m, _, i, _ in self.values if m == measure))

    def of_kind(self, *kinds):
        return [name for name, kind in self.kinds.items() if kind in kinds]

    @property
    def cores(self):
        return int(self.machine.get("cores", 1))

    def is_quiet(self):
        return float(self.machine.get("load") or 99) < QUIET


def digits(value):
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def spread(values):
    """The median, and the least and the most where there is more than one."""
    text = digits(statistics.median(values))
    if len(values) > 1:
        text += f" ({digits(min(values))}–{digits(max(values))})"
    return text


def lower_quartile(values):
    return statistics.quantiles(values, n=4)[0] if len(values) > 1 else values[0]
