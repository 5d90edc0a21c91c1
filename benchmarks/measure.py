"""Runs the benchmarks in turns and writes what they print as CSV; then report.py makes the table of
targets and what was reached, and plots.py the pictures.

A round runs every implementation in every cell once; neighbours in time are compared, so every ratio
is computed inside a round, and what is judged is the median of the rounds. The order of the
implementations moves on from round to round. What is measured stands in targets.py.
"""

# SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

import argparse
import csv
import functools
import os
import pathlib
import platform
import subprocess
import sys
import time

import plots
import report
import results as kept
import targets

QUICK_SECONDS = 110  # of measuring, for each of service and saturated


class Failure(Exception):
    """Something that ends the run, in words."""


class Plan:
    """What this run measures: the implementations that are there, and their command lines."""

    def __init__(self, args):
        self.args, self.programs = args, args.programs
        affinity = getattr(os, "sched_getaffinity", None)
        self.cores = len(affinity(0)) if affinity else os.cpu_count()
        self.kinds, self.can_block = {}, set()
        for program in ["throughput", "service", "throughput_baseline"]:
            if (self.programs / program).exists():
                for line in self.output_of([self.programs / program, "--list"]).splitlines():
                    name, kind, wait = line.split()
                    self.kinds[name] = kind
                    if wait == "wait":
                        self.can_block.add(name)
        if (self.programs / "go_pool").exists():
            self.kinds["go"] = "go"
            self.can_block.add("go")

    def output_of(self, command, timeout=300):
        """The standard output of a command that succeeds."""
        words = [str(word) for word in command]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=timeout,
                                  check=False)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"no end after {timeout} s: {' '.join(words)}") from error
        if done.returncode != 0:
            raise Failure(f"status {done.returncode}: {' '.join(words)}\n{done.stderr}")
        return done.stdout

    @staticmethod
    def quantities(text):
        """The lines 'quantity value' of a program's output."""
        return {name: float(value) for name, value in (line.split() for line in text.splitlines())}

    def command(self, program, what, name, *arguments, is_named=True):
        """The command line that runs `name`, which may be another program's; `what`: the first
        argument, before the name."""
        words = [what] if what else []
        if name == "go":
            return [self.programs / "go_pool", program, *words, *arguments]
        if name.partition("/")[0] == "baseline":
            program += "_baseline"
        return [self.programs / program, *words, *([name] if is_named else []), *arguments]

    @functools.lru_cache(maxsize=None)
    def iterations_per_us(self):
        found = self.quantities(self.output_of([self.programs / "real_tasks", "calibrate"]))
        return found["iterations_per_us"]

    def entries(self, group):
        """Of a round: (measure, cell, implementations)."""
        return [(measure, cell, measure.who(self)) for measure in targets.MEASURES
                if measure.group == group and measure.name in self.args.only
                for cell in measure.cells(self)]

    def run(self, measure, name, cell):
        found = measure.run(self, name, cell)
        return found if isinstance(found, dict) else self.quantities(self.output_of(found))


class Writer:
    """results.csv, a line at a time, so that an interrupted run leaves what it has."""

    def __init__(self, folder):
        self.file = open(folder / "results.csv", "w", newline="", encoding="utf-8")
        self.rows = csv.writer(self.file)
        self.rows.writerow(kept.HEAD)

    def add(self, measure, cell, implementation, number, found):
        for quantity, value in found.items():
            self.rows.writerow([measure, cell, implementation, quantity, number, f"{value:.9g}"])
        self.file.flush()


def run_rounds(plan, group, rounds, writer):
    """A quick run begins no round that would end too late. A program that fails leaves a gap, and the
    report says so: an hour's figures are not lost for it."""
    entries = plan.entries(group)
    started = began = time.monotonic()
    for number in range(rounds if entries else 0):
        last, began = time.monotonic() - began, time.monotonic()
        if plan.args.quick and began - started + last > QUICK_SECONDS:
            return
        for measure, cell, names in entries:
            if number >= (1 if plan.args.quick and measure.most_rounds else
                          measure.most_rounds or rounds):
                continue
            first = number % max(1, len(names))
            for name in names[first:] + names[:first]:
                try:
                    writer.add(measure.name, cell, name, number, plan.run(measure, name, cell))
                except Failure as failure:
                    print(f"benchmarks/run: {failure}", file=sys.stderr)
                    with open(plan.args.results / "errors.txt", "a", encoding="utf-8") as file:
                        print(f"failed: {measure.name} {cell} {name}: {failure}", file=file)
        print(f"{group}: round {number + 1} of {rounds}: {time.monotonic() - started:.0f} s",
              file=sys.stderr, flush=True)


def wait_until_quiet(seconds):
    """The build before this is no neighbour that a reader should have to reckon with."""
    end = time.monotonic() + seconds
    while os.getloadavg()[0] >= kept.QUIET and time.monotonic() < end:
        time.sleep(5)


def write_machine(plan):
    """Where: no figure means anything without."""
    model = platform.machine()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    compiler = plan.output_of([*os.environ.get("CXX", "c++").split(), "--version"]).splitlines()[0]
    lines = [f"model: {model}", f"cores: {plan.cores}",
             f"kernel: {platform.system()} {platform.release()} {platform.machine()}",
             f"compiler: {compiler}, -O2 -DNDEBUG", f"load: {os.getloadavg()[0]:.2f}",
             "command: benchmarks/run " + " ".join(plan.args.words)]
    (plan.args.results / "machine.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (plan.args.results / "implementations.txt").write_text(
        "".join(f"{name} {kind} {'wait' if name in plan.can_block else '-'}\n"
                for name, kind in plan.kinds.items()), encoding="utf-8")


# --- The command line ----------------------------------------------------------------------------

def arguments():
    measures = [measure.name for measure in targets.MEASURES]

    def which(text):
        found = []
        for word in text.split(","):
            of_group = [m.name for m in targets.MEASURES if m.group == word]
            found += of_group or [word]
        if set(found) - set(measures):
            raise argparse.ArgumentTypeError(f"choose from service,saturated,{','.join(measures)}")
        return found

    def positive(text):
        value = int(text)
        if value <= 0:
            raise ValueError
        return value
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=pathlib.Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true",
                        help="few cells, short runs: less than two minutes each for service and "
                             "saturated")
    parser.add_argument("--rounds", type=positive, help="how often everything is run (7)")
    parser.add_argument("--ms", type=positive, help="length of a run in milliseconds (200)")
    parser.add_argument("--only", type=which, default=measures, metavar="MEASURE,...",
                        help="service, saturated, or some of: " + ", ".join(measures))
    parser.add_argument("--service-cells", dest="cells_of", choices=["quick", "some", "grid"],
                        help="which cells of rate, pacing, task, workers and neighbours (some); "
                             "grid is all of them and takes hours")
    parser.add_argument("--cells", type=lambda text: text.split(","), default=targets.CELLS,
                        metavar="PxW,...", help="producers and workers of the throughput")
    parser.add_argument("--results", type=pathlib.Path, help="folder for CSV, table and plots")
    parser.add_argument("--patience", type=int, metavar="S",
                        help="how long to wait until the machine is quiet (180; quick 0)")
    args = parser.parse_args()
    if args.programs is None:
        parser.error("benchmarks/run names the folder of the built programs")
    args.rounds = args.rounds or 7
    args.ms = args.ms or (50 if args.quick else 200)
    args.cells_of = args.cells_of or ("quick" if args.quick else "some")
    if args.patience is None:
        args.patience = 0 if args.quick else 180
    args.programs = args.programs.resolve()
    args.results = (args.results or args.programs / "results").resolve()
    args.words = sys.argv[2:]
    return args


def main():
    args = arguments()
    args.results.mkdir(parents=True, exist_ok=True)
    plan = Plan(args)
    wait_until_quiet(args.patience)
    write_machine(plan)
    (args.results / "errors.txt").write_text("", encoding="utf-8")
    writer = Writer(args.results)
    if os.getloadavg()[0] >= kept.QUIET:
        print(report.NOT_QUIET.format(load=f"{os.getloadavg()[0]:.2f}"), file=sys.stderr)
    for group in ["service", "saturated"]:
        run_rounds(plan, group, args.rounds, writer)
    results = kept.Results(args.results).read()
    print(report.write(results))
    plots.draw(results)
    print(f"\nresults.csv, table.md and plots: {args.results}")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"benchmarks/run: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
