"""Runs the benchmarks in turns, and prints the table of targets and what was reached.

A round runs every implementation in every cell once; neighbours in time are compared, so every ratio
is computed inside a round, and what is shown is the median of the rounds and their extremes. The
order of the implementations moves on from round to round.
"""

# SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

import argparse
import collections
import csv
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent / "include"
CELLS = ["1x1", "1x2", "2x1", "2x2", "4x4", "8x8", "1x16"]
STATES = ["busy", "parked", "full"]
MEASURES = ["throughput", "fill_drain", "caller_cost", "wake_latency", "real_tasks", "group",
            "counts", "compile_time", "instructions"]

QUICK_SECONDS = 115  # of measuring


class Failure(Exception):
    """Something that ends the run, in words."""


def output_of(command, timeout=300):
    """The standard output of a command that succeeds."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"no end after {timeout} s: {' '.join(words)}") from error
    if done.returncode != 0:
        raise Failure(f"status {done.returncode}: {' '.join(words)}\n{done.stderr}")
    return done.stdout


def quantities(text):
    """The lines 'quantity value' of a program's output."""
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}


# --- What is run ---------------------------------------------------------------------------------

class Plan:
    """All runs of a round: the implementations of a cell are neighbours."""

    def __init__(self, args):
        self.args = args
        self.programs = args.programs
        self.rows = collections.OrderedDict()  # (measure, cell) -> [(implementation, function)]
        self.kinds = {}
        self.can_block = set()
        for line in output_of([self.programs / "throughput", "--list"]).splitlines():
            name, kind, wait = line.split()
            self.kinds[name] = kind
            if wait == "wait":
                self.can_block.add(name)
        self.go = self.programs / "go_pool"
        if self.go.exists():
            self.kinds["go"] = "go"
            self.can_block.add("go")
        self.pools = [name for name, kind in self.kinds.items() if kind != "limit"]

    def add(self, measure, cell, implementation, *command):
        self.add_function(measure, cell, implementation, lambda: quantities(output_of(command)))

    def add_function(self, measure, cell, implementation, function):
        if measure in self.args.only:
            self.rows.setdefault((measure, cell), []).append((implementation, function))

    def command(self, program, name, *arguments):
        """The command line that runs `name`, which may be the Go program."""
        if name == "go":
            return [self.go, program, *arguments]
        return [self.programs / program, name, *arguments]

    def build(self):
        ms = self.args.ms
        for cell in self.args.cells:
            for name in self.kinds:
                self.add("throughput", cell, name,
                         *self.command("throughput", name, "try", cell, ms))
                if name in self.can_block:
                    self.add("throughput", cell, name + "/wait",
                             *self.command("throughput", name, "wait", cell, ms))
        for name in [*(n for n in self.kinds if n != "go"), "fanout_bulk"]:
            self.add("fill_drain", "-", name, self.programs / "fill_drain", name, ms)
        for state in STATES:
            for name in self.pools:
                self.add("caller_cost", state, name,
                         *self.command("caller_cost", name, state, ms))
        for name in ["futex", *(n for n in self.pools if n != "go")]:
            self.add("wake_latency", "-", name, self.programs / "wake_latency", name, ms)
        if "real_tasks" in self.args.only:
            self.build_real_tasks()
        for name in output_of([self.programs / "group", "--list"]).split():
            self.add("group", "-", name, self.programs / "group", name, ms)
        self.add("counts", "-", "fanout", self.programs / "counts")
        for compiler in filter(shutil.which, ["g++", "clang++"]):
            for level in ["-O0", "-O2"]:
                for source in ["pool", "standard"]:
                    self.add_function("compile_time", f"{compiler} {level}", source,
                                      lambda c=compiler, l=level, s=source: compile_time(c, l, s))
        if (self.programs / "instructions").exists() and shutil.which("valgrind"):
            self.add("instructions", "-", "fanout", HERE / "count_instructions",
                     self.programs / "instructions")

    def build_real_tasks(self):
        per_us = quantities(output_of([self.programs / "real_tasks", "calibrate"]))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        for us in [1, 10]:
            iterations = round(per_us["iterations_per_us"] * us)
            count = max(1000, self.args.ms * 1000 * cores // us)
            for name in ["ideal", *self.pools]:
                self.add("real_tasks", f"{us}us", name,
                         *self.command("real_tasks", name, iterations, count))

    def rounds_of(self, measure):
        """Some figures do not move, and some cost a minute a round."""
        limits = {"counts": 1, "instructions": 1, "compile_time": 1 if self.args.quick else 7}
        return min(self.args.rounds, limits.get(measure, self.args.rounds))


def compile_time(compiler, level, source):
    """Processor time of a compilation, which other load disturbs less than wall time."""
    def children():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
    before = children()
    output_of(["env", "CCACHE_DISABLE=1", compiler, "-std=c++20", level, "-I", INCLUDE, "-c",
               HERE / "compile_time" / f"{source}.cpp", "-o", os.devnull])
    return {"cpu_s": children() - before}


# --- What came of it -----------------------------------------------------------------------------

class Results:
    """Values by measure, cell, implementation and quantity, each a dictionary by round."""

    def __init__(self):
        self.values = collections.OrderedDict()

    def add(self, measure, cell, implementation, number, found):
        for quantity, value in found.items():
            key = (measure, cell, implementation, quantity)
            self.values.setdefault(key, {})[number] = value

    def get(self, measure, cell, implementation, quantity):
        return self.values.get((measure, cell, implementation, quantity), {})

    def median(self, *key):
        found = self.get(*key)
        return statistics.median(found.values()) if found else None

    def ratios(self, key, others, best=max):
        """By round: the value of `key` over the best of the others'."""
        rivals = [found for found in (self.get(*other) for other in others) if found]
        own = self.get(*key)
        return [value / best(rival[number] for rival in rivals)
                for number, value in own.items()
                if rivals and all(rival.get(number) for rival in rivals)]

    def write(self, path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["measure", "cell", "implementation", "quantity", "round", "value"])
            for key, by_round in self.values.items():
                for number, value in by_round.items():
                    rows.writerow([*key, number, f"{value:.9g}"])


def run_rounds(plan, results):
    """Returns how many rounds there were: a quick run begins none that would end too late."""
    started = began = time.monotonic()
    for number in range(plan.args.rounds):
        last, began = time.monotonic() - began, time.monotonic()
        if plan.args.quick and began - started + last > QUICK_SECONDS:
            return number
        for (measure, cell), entries in plan.rows.items():
            if number >= plan.rounds_of(measure):
                continue
            first = number % len(entries)
            for implementation, function in entries[first:] + entries[:first]:
                results.add(measure, cell, implementation, number, function())
        print(f"round {number + 1} of {plan.args.rounds}: {time.monotonic() - started:.0f} s",
              file=sys.stderr, flush=True)
    return plan.args.rounds


# --- The table -----------------------------------------------------------------------------------

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


RELATIONS = {"≥": lambda a, b: a >= b, "≤": lambda a, b: a <= b, "<": lambda a, b: a < b,
             "=": lambda a, b: a == b}


class Table:
    """Rows of what, target, reached, met."""

    def __init__(self):
        self.rows = []

    def add(self, what, relation, target, values, note=""):
        if not values:
            self.rows.append((what, f"{relation} {digits(target)}", "not measured", ""))
            return
        is_met = RELATIONS[relation](statistics.median(values), target)
        self.rows.append((what, f"{relation} {digits(target)}", spread(values) + note,
                          "yes" if is_met else "NO"))

    def add_worst(self, what, relation, target, by_cell):
        """The cell that is furthest from the target."""
        measured = {cell: values for cell, values in by_cell.items() if values}
        if not measured:
            self.add(what, relation, target, [])
            return
        worst = (min if relation == "≥" else max)(
            measured, key=lambda cell: statistics.median(measured[cell]))
        met = sum(RELATIONS[relation](statistics.median(v), target) for v in measured.values())
        self.add(what, relation, target, measured[worst],
                 f" at {worst}; {met} of {len(measured)} cells")

    def text(self):
        return markdown(("what", "target", "reached: median (extremes)", "met"), self.rows)


def markdown(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    def line(cells):
        return "| " + " | ".join(str(c).ljust(w) for c, w in zip(cells, widths)) + " |"
    return "\n".join([line(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|",
                      *map(line, rows)])


class Report:
    """The figures of DESIGN.md, section 5, from the results."""

    def __init__(self, plan, results):
        self.plan, self.results = plan, results
        self.cells = plan.args.cells

    def of_kind(self, kind):
        return [name for name, its in self.plan.kinds.items() if its == kind]

    def against(self, cell, names, quantity="tasks_per_s", own="fanout"):
        return self.results.ratios(("throughput", cell, own, quantity),
                                   [("throughput", cell, name, quantity) for name in names])

    def throughput(self, cell):
        """The comparisons of a cell: name, relation, target, ratios."""
        return [
            ("a Go channel pool", "≥", 10, self.against(cell, ["go"])),
            ("the best complete C++ pool", "≥", 5, self.against(cell, self.of_kind("pool"))),
            ("the best bare queue with a function type", "≥", 2.5,
             self.against(cell, self.of_kind("queue"))),
            ("the bare ring", "≥", 0.9, self.against(cell, self.of_kind("limit"))),
            ("do_wait over retrying", "≥", 0.8, self.against(cell, ["fanout"], own="fanout/wait")),
            ("CPU of do_wait over retrying", "<", 1,
             self.against(cell, ["fanout"], "cpu_ns_per_task", own="fanout/wait")),
        ]

    def table(self):
        table, results = Table(), self.results
        for row in zip(*(self.throughput(cell) for cell in self.cells)):
            name, relation, target, _ = row[0]
            what = name if "do_wait" in name else "over " + name
            table.add_worst("tiny tasks/s: " + what, relation, target,
                            {cell: r[3] for cell, r in zip(self.cells, row)})

        def fill(quantity, other, own="fanout", other_quantity=None):
            return results.ratios(("fill_drain", "-", own, quantity),
                                  [("fill_drain", "-", other, other_quantity or quantity)])

        def ns(quantity, own="fanout"):
            value = results.median("fill_drain", "-", own, quantity)
            return f"; {digits(value)} ns" if value is not None else ""
        table.add("fill over the bare ring", "≤", 1.3, fill("fill_ns", "ring"), ns("fill_ns"))
        table.add("drain over the bare ring", "≤", 1.5, fill("drain_ns", "ring"), ns("drain_ns"))
        table.add("refusal over a fill", "≤", 0.5,
                  fill("refuse_ns", "fanout", other_quantity="fill_ns"), ns("refuse_ns"))
        table.add("bulk of 64 over 64 singles", "≤", 0.5,
                  fill("fill_ns", "fanout", own="fanout_bulk"), ns("fill_ns", "fanout_bulk"))
        self.counted(table, "claims in a bulk of 64", "=", 1, "claims_per_bulk")

        peers = [name for name in self.plan.pools if name != "fanout"]
        for state in STATES:
            for quantity, label in [("p50_ns", "p50"), ("p99_ns", "p99"), ("p999_ns", "p99.9")]:
                medians = {name: results.median("caller_cost", state, name, quantity)
                           for name in ["fanout", *peers]}
                note = ""
                if all(value is not None for value in medians.values()) and peers:
                    rival = min(peers, key=medians.get)
                    note = f"; {digits(medians['fanout'])} ns, {rival} {digits(medians[rival])}"
                table.add(f"caller's cost, {state}, {label}, over the best peer", "<", 1,
                          results.ratios(("caller_cost", state, "fanout", quantity),
                                         [("caller_cost", state, name, quantity)
                                          for name in peers], min), note)

        table.add("group of 1,000, per task, over oneTBB's task_group", "<", 1,
                  results.ratios(("group", "-", "fanout", "ns_per_task"),
                                 [("group", "-", "tbb_task_group", "ns_per_task")]))
        self.counted(table, "allocations a task", "=", 0, "allocations_per_task")
        self.counted(table, "allocations a refusal", "=", 0, "allocations_per_refusal")
        self.counted(table, "bytes a slot", "=", 64, "slot_bytes")
        self.counted(table, "bytes a pool besides", "<", 4096, "pool_bytes")
        self.counted(table, "bytes a worker besides", "<", 1024, "worker_bytes")
        self.counted(table, "CPU share of 16 parked workers", "<", 0.001, "parked_cpu_share")
        table.add("wake latency over a futex hand-off", "≤", 1.15,
                  results.ratios(("wake_latency", "-", "fanout", "p50_ns"),
                                 [("wake_latency", "-", "futex", "p50_ns")]))
        for us, target in [(1, 0.95), (10, 0.99)]:
            table.add(f"{us} µs tasks with do_wait, of the ideal", "≥", target,
                      results.ratios(("real_tasks", f"{us}us", "ideal", "wall_ns_per_task"),
                                     [("real_tasks", f"{us}us", "fanout", "wall_ns_per_task")]))
        for cell in dict.fromkeys(c for m, c, _, _ in results.values if m == "compile_time"):
            table.add(f"compile time over a jthread's, {cell}", "≤", 1.5,
                      results.ratios(("compile_time", cell, "pool", "cpu_s"),
                                     [("compile_time", cell, "standard", "cpu_s")]))
        return table.text()

    def counted(self, table, what, relation, target, quantity):
        table.add(what, relation, target,
                  list(self.results.get("counts", "-", "fanout", quantity).values()))

    def by_cell(self):
        """Every cell of the throughput."""
        rows = []
        for cell in self.cells:
            own = self.results.get("throughput", cell, "fanout", "tasks_per_s")
            if not own:
                continue
            rows.append((cell, spread([value / 1e6 for value in own.values()]),
                         *(spread(r[3]) if r[3] else "–" for r in self.throughput(cell))))
        head = ("P×W", "million/s", "over Go (≥ 10)", "best pool (≥ 5)", "best queue (≥ 2.5)",
                "ring (≥ 0.9)", "do_wait (≥ 0.8)", "its CPU (< 1)")
        return markdown(head, rows) if rows else ""

    def by_implementation(self):
        """Medians of everybody, so that a peer that wins is seen."""
        names = list(dict.fromkeys(
            i for m, _, i, _ in self.results.values if m not in ("counts", "compile_time",
                                                                  "instructions")))
        columns = [("throughput", cell, "tasks_per_s", 1e-6, f"{cell}, M/s") for cell in self.cells]
        columns += [("fill_drain", "-", q + "_ns", 1, f"{q}, ns")
                    for q in ("fill", "drain", "refuse")]
        columns += [("caller_cost", s, "p50_ns", 1, f"call, {s}, ns") for s in STATES]
        columns += [("wake_latency", "-", "p50_ns", 1, "wake, ns"),
                    ("group", "-", "ns_per_task", 1, "group, ns"),
                    ("real_tasks", "1us", "wall_ns_per_task", 1, "1 µs, ns"),
                    ("real_tasks", "10us", "wall_ns_per_task", 1, "10 µs, ns")]
        rows, used = [], []
        for measure, cell, quantity, scale, label in columns:
            if any(self.results.get(measure, cell, name, quantity) for name in names):
                used.append((measure, cell, quantity, scale, label))
        for name in names:
            values = (self.results.median(m, c, name, q) for m, c, q, _, _ in used)
            rows.append((name, *("–" if value is None else digits(value * column[3])
                                 for value, column in zip(values, used))))
        return markdown(("median of", *(column[4] for column in used)), rows) if rows else ""

    def instructions(self):
        found = {q: next(iter(v.values())) for (m, _, _, q), v in self.results.values.items()
                 if m == "instructions"}
        if not found:
            return ""
        return "Instructions a task (callgrind): " + ", ".join(
            f"{name} {digits(value)}" for name, value in found.items())


def machine():
    """Where: no figure means anything without."""
    model = platform.machine()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    compiler = output_of([*os.environ.get("CXX", "c++").split(), "--version"]).splitlines()[0]
    load = os.getloadavg()[0]
    lines = [f"{model}, {os.cpu_count()} cores, {platform.system()}",
             f"{compiler}, -O2 -DNDEBUG"]
    if load > 0.5:
        lines.append(f"THE MACHINE IS NOT QUIET: load {load:.1f} before the first round")
    return "\n".join(lines)


# --- Plots ---------------------------------------------------------------------------------------

COLOURS = {"fanout": "#0b5394", "fanout/wait": "#6fa8dc", "ring": "#999999", "go": "#00add8",
           "mutex_pool": "#b45f06", "tbb_arena": "#6aa84f", "tbb_queue": "#b6d7a8",
           "asio": "#a64d79", "moodycamel": "#f1c232"}
GNUPLOT_HEAD = """
set terminal svg size {width},{height} font 'sans-serif,13' background rgb 'white'
set border 3
set tics nomirror
set grid ytics
set key outside bottom center horizontal
set style fill solid 0.85 border -1
set boxwidth 0.9
"""


def gnuplot(folder, name, script, width=1000, height=440):
    text = GNUPLOT_HEAD.format(width=width, height=height) + f"set output '{name}.svg'\n" + script
    subprocess.run(["gnuplot"], input=text, text=True, cwd=folder, check=True)


def plot_cells(results, folder, cells, names, quantity, scale, title):
    """Bars by cell, one for each implementation, with the extremes of the rounds."""
    names = [n for n in names if results.get("throughput", cells[0], n, quantity)]
    if not names:
        return
    data = folder / f"{quantity}.dat"
    with open(data, "w", encoding="utf-8") as file:
        print("# cell", *(f'"{n}" least most' for n in names), file=file)
        for cell in cells:
            row = []
            for name in names:
                values = [v * scale for v in results.get("throughput", cell, name, quantity).values()]
                row += [statistics.median(values), min(values), max(values)] if values else ["?"] * 3
            print(cell, *row, file=file)
    bars = ", ".join(f"'{data.name}' using {2 + 3 * i}:{3 + 3 * i}:{4 + 3 * i}:xtic(1) "
                     f"title '{n}' noenhanced linecolor rgb '{COLOURS.get(n, 'gray')}'"
                     for i, n in enumerate(names))
    gnuplot(folder, quantity, f"""
set title '{title}'
set style data histograms
set style histogram errorbars gap 2 lw 1
set xlabel 'producers × workers' offset 0,0.6
set yrange [0:*]
plot {bars}
""")


def plot_caller_cost(results, folder, names):
    names = [n for n in names if results.get("caller_cost", "busy", n, "p50_ns")]
    if not names:
        return
    script = "set multiplot layout 1,3\nset style data histograms\nset logscale y\n" \
             "set xtics rotate by -45 noenhanced\n"
    for state in STATES:
        data = folder / f"caller_cost_{state}.dat"
        with open(data, "w", encoding="utf-8") as file:
            for name in names:
                print(name, *(max(1.0, results.median("caller_cost", state, name, q) or 1.0)
                              for q in ("p50_ns", "p99_ns", "p999_ns")), file=file)
        script += f"set title '{state}: ns a call'\nset yrange [1:*]\nplot " + ", ".join(
            f"'{data.name}' using {i + 2}:xtic(1) title '{label}'"
            for i, label in enumerate(["p50", "p99", "p99.9"])) + "\n"
    gnuplot(folder, "caller_cost", script + "unset multiplot\n", width=1200)


def plot(plan, results, folder):
    if not shutil.which("gnuplot"):
        print("no plots: gnuplot is not here", file=sys.stderr)
        return
    names = [name for kind in plan.kinds
             for name in ([kind, "fanout/wait"] if kind == "fanout" else [kind])]
    plot_cells(results, folder, plan.args.cells, names, "tasks_per_s", 1e-6,
               "Tiny tasks, millions a second (more is better)")
    plot_cells(results, folder, plan.args.cells, names, "cpu_ns_per_task", 1,
               "Processor time a tiny task, ns (less is better)")
    plot_caller_cost(results, folder, plan.pools)


# --- The command line ----------------------------------------------------------------------------

def arguments():
    def words(known):
        def parse(text):
            found = text.split(",")
            if known and set(found) - set(known):
                raise argparse.ArgumentTypeError(f"choose from {','.join(known)}")
            return found
        return parse

    def positive(text):
        value = int(text)
        if value <= 0:
            raise ValueError
        return value
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=pathlib.Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="runs of 50 ms, 7 rounds")
    parser.add_argument("--rounds", type=positive, help="how often everything is run (11)")
    parser.add_argument("--ms", type=positive, help="length of a run in milliseconds (200)")
    parser.add_argument("--only", type=words(MEASURES), default=MEASURES, metavar="MEASURE,...",
                        help="some of: " + ", ".join(MEASURES))
    parser.add_argument("--cells", type=words(None), default=CELLS, metavar="PxW,...",
                        help="producers and workers of the throughput")
    parser.add_argument("--results", type=pathlib.Path, help="folder for CSV, table and plots")
    args = parser.parse_args()
    args.rounds = args.rounds or (7 if args.quick else 11)
    args.ms = args.ms or (50 if args.quick else 200)
    if args.programs is None:
        parser.error("benchmarks/run names the folder of the built programs")
    args.programs = args.programs.resolve()
    args.results = args.results or args.programs / "results"
    return args


def main():
    args = arguments()
    args.results.mkdir(parents=True, exist_ok=True)
    head = machine()
    plan, results = Plan(args), Results()
    plan.build()
    try:
        rounds = run_rounds(plan, results)
    finally:
        results.write(args.results / "results.csv")
    head += f"\nbenchmarks/run: {rounds} rounds, runs of {args.ms} ms"
    report = Report(plan, results)
    text = "\n\n".join(filter(None, [head, report.table(), report.by_cell(),
                                     report.by_implementation(), report.instructions()]))
    (args.results / "table.md").write_text(text + "\n", encoding="utf-8")
    plot(plan, results, args.results)
    print(f"\n{text}\n\nresults.csv, table.md and plots: {args.results}")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"benchmarks/run: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
