"""Draws the pictures of a folder's results.csv as SVG, where gnuplot is.

    python3 benchmarks/plots.py FOLDER

FOLDER is one that benchmarks/run or benchmarks/anywhere wrote.
"""

# SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

import pathlib
import shutil
import statistics
import subprocess
import sys

import results as kept
import targets

COLOURS = {"fanout": "#0b5394", "fanout/wait": "#6fa8dc", "fanout_delay": "#3d85c6",
           "baseline": "#e06666", "baseline/wait": "#f4cccc", "ring": "#999999",
           "ring_of_one": "#cccccc", "go": "#00add8", "mutex_pool": "#b45f06",
           "tbb_arena": "#6aa84f", "tbb_queue": "#b6d7a8", "asio": "#a64d79",
           "moodycamel": "#f1c232"}
HEAD = """
set terminal svg size {width},{height} font 'sans-serif,13' background rgb 'white'
set output '{name}.svg'
set border 3
set tics nomirror
set grid ytics
set key outside bottom center horizontal noenhanced
set style fill solid 0.85 border -1
set boxwidth 0.9
"""


def colour(name):
    return f"linecolor rgb '{COLOURS.get(name, 'gray')}'"


class Picture:
    """One SVG of one or more panels; a panel without data is left out, and so is an empty picture."""

    def __init__(self, results, name, width=1000, height=440):
        self.results, self.name = results, name
        self.size = {"width": width, "height": height}
        self.panels = []

    def data(self, columns, rows):
        """Writes a file of data; returns its name."""
        name = f"{self.name}_{len(self.panels)}.dat"
        with open(self.results.folder / name, "w", encoding="utf-8") as file:
            print("#", *columns, file=file)
            for row in rows:
                print(*("?" if v is None else v for v in row), file=file)
        return name

    def bars(self, title, measure, cells, names, quantity, scale, settings=""):
        """By cell, one for each implementation, with the extremes of the rounds."""
        def of(cell, name):
            return self.results.get(measure, cell, name, quantity).values()
        names = [n for n in names if any(of(cell, n) for cell in cells)]
        if not names:
            return
        rows = []
        for cell in cells:
            rows.append([cell])
            for name in names:
                values = [v * scale for v in of(cell, name)]
                rows[-1] += ([statistics.median(values), min(values), max(values)]
                             if values else [None] * 3)
        data = self.data(["cell", *(f"{n} least most" for n in names)], rows)
        drawn = ", ".join(f"'{data}' using {2 + 3 * i}:{3 + 3 * i}:{4 + 3 * i}:xtic(1) "
                          f"title '{n}' {colour(n)}" for i, n in enumerate(names))
        self.panels.append(f"""
set title '{title}'
set style data histograms
set style histogram errorbars gap 2 lw 1
set xtics noenhanced
{settings}
plot {drawn}
""")

    def lines(self, title, cells, names, quantity, scale, settings=""):
        """Over the rate: `cells` by rate."""
        def of(cell, name):
            return self.results.median("paced", cell, name, quantity)
        names = [n for n in names if any(of(cell, n) is not None for cell in cells.values())]
        rows = [[rate, *(None if of(cell, n) is None else max(of(cell, n) * scale, 0.01)
                         for n in names)] for rate, cell in sorted(cells.items())]
        if not names or len(rows) < 2:
            return
        data = self.data(["rate", *names], rows)
        drawn = ", ".join(f"'{data}' using 1:{2 + i} title '{n}' with linespoints pointtype 7 "
                          f"pointsize 0.6 linewidth 2 {colour(n)}" for i, n in enumerate(names))
        self.panels.append(f"""
set title '{title}'
set logscale xy
set xlabel 'tasks a second' offset 0,0.6
{settings}
plot {drawn}
""")

    def draw(self):
        if not self.panels:
            return
        script = HEAD.format(name=self.name, **self.size)
        script += "set datafile missing '?'\n"
        if len(self.panels) > 1:
            script += f"set multiplot layout 1,{len(self.panels)}\n"
        subprocess.run(["gnuplot"], input=script + "".join(self.panels), text=True,
                       cwd=self.results.folder, check=True)


def paced_by_rate(results, beside, pacing="sleep"):
    """Cells of empty tasks and one worker that differ in the rate."""
    found = {}
    for text in results.cells("paced"):
        cell = targets.Paced.of(text)
        if (cell.pacing, cell.us, cell.workers, cell.beside) == (pacing, 0, 1, beside):
            found[cell.rate] = text
    return found


def service(results):
    names = [n for n in results.implementations("paced") if n != "none"]
    busy = f"{results.cores}t"
    panels = [("0", "quiet cores"), (busy, "a computing thread on each core")]
    for name, quantity, title in [("service_cpu", "cpu_ns", "CPU a task beyond the pacing, µs"),
                                  ("service_wait", "wait_p99_ns", "submission to start, p99, µs")]:
        picture = Picture(results, name, 1200)
        for beside, where in panels:
            picture.lines(f"{title}: {where}", paced_by_rate(results, beside), names, quantity,
                          1e-3)
        picture.draw()

    picture = Picture(results, "service_loss", 1200)
    cells = [str(c) for c in map(targets.Paced.of, results.cells("paced"))
             if c.neighbours() and c.us == 0 and c.pacing == "sleep" and c.workers == 1]
    picture.bars("What computing neighbours lose, % (rate-pacing-µs-workers-neighbours)", "paced",
                 cells, ["none", *names], "loss_percent", 1, "set xtics rotate by -30")
    picture.draw()

    picture = Picture(results, "wake_delay", 1200)
    pair = ["fanout", "fanout_delay"]
    cells = max((paced_by_rate(results, beside) for beside, _ in panels), key=len)
    for quantity, title in [("cpu_ns", "CPU a task, µs"), ("call_p99_ns", "a submission, p99, µs"),
                            ("wait_p50_ns", "submission to start, p50, µs")]:
        picture.lines(title, cells, pair, quantity, 1e-3)
    if "fanout_delay" in names:
        picture.draw()


def saturated(results):
    cells, names = results.cells("throughput"), results.implementations("throughput")
    for quantity, scale, title in [
            ("tasks_per_s", 1e-6, "Tiny tasks, millions a second (more is better)"),
            ("cpu_ns_per_task", 1, "Processor time a tiny task, ns (less is better)")]:
        picture = Picture(results, quantity)
        picture.bars(title, "throughput", cells, names, quantity, scale,
                     "set yrange [0:*]\nset xlabel 'producers × workers' offset 0,0.6")
        picture.draw()

    picture = Picture(results, "caller_cost", 1200)
    for state in results.cells("caller_cost"):
        names = results.implementations("caller_cost")
        rows = [[name, *(max(1.0, results.median("caller_cost", state, name, q) or 1.0)
                         for q in ("p50_ns", "p99_ns", "p999_ns"))] for name in names]
        data = picture.data(["implementation", "p50", "p99", "p99.9"], rows)
        drawn = ", ".join(f"'{data}' using {i + 2}:xtic(1) title '{label}'"
                          for i, label in enumerate(["p50", "p99", "p99.9"]))
        picture.panels.append(f"""
set title '{state}: ns a call'
set style data histograms
set logscale y
set xtics rotate by -45 noenhanced
set yrange [1:*]
plot {drawn}
""")
    picture.draw()


def draw(results):
    if not shutil.which("gnuplot"):
        print("no plots: gnuplot is not here", file=sys.stderr)
        return
    service(results)
    saturated(results)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    draw(kept.Results(pathlib.Path(sys.argv[1])).read())
