"""The measures: how each is run, what it must reach, and what of it is shown. A new one is a new
entry in MEASURES, and nothing else.

A target compares inside a round, since neighbours in time see the same machine; what is judged is
the median of the rounds. The targets are those of the design's section 5: in service, then saturated.
"""

# SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

import dataclasses
import math
import os
import pathlib
import re
import resource
import shutil
import statistics
import typing

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent / "include"

PEERS = ("pool", "queue", "go")


@dataclasses.dataclass
class Target:
    """`values(results, measure, cell)` gives a list of one value a round, empty if not measured."""
    what: str
    relation: str
    target: float
    values: typing.Callable
    cells: typing.Callable = lambda results, cell: True
    # A miss by less than the rounds differ is told apart from others.
    in_spread: bool = False
    # One figure of all cells instead of the worst cell: the geometric mean.
    is_mean: bool = False


@dataclasses.dataclass
class Measure:
    name: str
    group: str  # service or saturated
    cells: typing.Callable  # of the plan: the cells
    who: typing.Callable  # of the plan: the implementations
    run: typing.Callable  # of the plan, an implementation and a cell: words of a command, or values
    targets: list = dataclasses.field(default_factory=list)
    shown: list = dataclasses.field(default_factory=list)  # quantity, scale, label
    most_rounds: typing.Optional[int] = None  # some figures do not move


# --- Values --------------------------------------------------------------------------------------

def value(implementation, quantity, scale=1.0):
    def of(results, measure, cell):
        return [v * scale for v in results.get(measure, cell, implementation, quantity).values()]
    return of


def against(own, rivals, best, compare):
    """Round by round, with the rival whose median is the best one."""
    rivals = [found for found in rivals if found]
    if not own or not rivals:
        return []
    rival = best(rivals, key=lambda found: statistics.median(found.values()))
    return [compare(v, rival[n]) for n, v in own.items() if n in rival]


def over(a, b):
    return a / b if b else math.inf


def ratio(implementation, quantity, rivals, best=max, other=None):
    """Over the best of the rivals: names, or kinds if it is a tuple. `other`: their quantity, if it
    is another one."""
    def of(results, measure, cell):
        names = results.of_kind(*rivals) if isinstance(rivals, tuple) else rivals
        return against(results.get(measure, cell, implementation, quantity),
                       [results.get(measure, cell, name, other or quantity) for name in names],
                       best, over)
    return of


def cpu_of(results, cell, name):
    """Processor time a task, by round. What no pool at all shows beyond the tasks' own work is noise:
    nobody counts for less."""
    used = results.get("paced", cell, "none", "cpu_ns")
    work = results.get("paced", cell, "none", "work_ns")
    return {n: max(v, 50.0, abs(used.get(n, 0) - work.get(n, 0))) for n, v in
            results.get("paced", cell, name, "cpu_ns").items()}


def cpu_ratio(implementation, rivals=PEERS):
    def of(results, _, cell):
        names = results.of_kind(*rivals) if isinstance(rivals, tuple) else rivals
        return against(cpu_of(results, cell, implementation),
                       [cpu_of(results, cell, name) for name in names], min, over)
    return of


def compared_in_time(results, cell):
    """The peers whose processor time a task is at most twice the least."""
    used = {name: statistics.median(found.values()) for name in results.of_kind(*PEERS)
            if (found := cpu_of(results, cell, name))}
    return [name for name, cpu in used.items() if cpu <= 2 * min(used.values())]


def time_ratio(implementation, quantity):
    def of(results, measure, cell):
        return ratio(implementation, quantity, compared_in_time(results, cell), min)(
            results, measure, cell)
    return of


def more_loss(*kinds):
    """Points that a neighbour loses more than with the one of these kinds that takes least. What it
    gains is no pool's merit: a submitter that is delayed sleeps less often."""
    def lost(results, cell, name):
        found = results.get("paced", cell, name, "loss_percent")
        return {n: max(v, 0.0) for n, v in found.items()}

    def of(results, _, cell):
        names = ["none"] if kinds == ("none",) else results.of_kind(*kinds)
        return against(lost(results, cell, "fanout"),
                       [lost(results, cell, name) for name in names], min, lambda a, b: a - b)
    return of


# --- Cells of the service ------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Paced:
    """A cell of the paced measure: tasks a second, how the submitter keeps the pace, microseconds of
    a task, workers, neighbours. Written as the program takes it, with dashes."""
    rate: int
    pacing: str = "sleep"
    us: int = 0
    workers: int = 1
    beside: str = "0"

    def __str__(self):
        return f"{self.rate}-{self.pacing}-{self.us}-{self.workers}-{self.beside}"

    @staticmethod
    def of(text):
        rate, pacing, us, workers, beside = text.split("-")
        return Paced(int(rate), pacing, int(us), int(workers), beside)

    def neighbours(self):
        return int(re.match(r"\d+", self.beside)[0])

    def has_free_core(self, cores):
        return self.neighbours() + (self.pacing == "compute") < cores

    def is_overload(self, cores):
        return self.rate * self.us * 1e-6 > 0.7 * min(self.workers, cores)


RATES = [100, 1_000, 10_000, 50_000]


def paced_cells(plan):
    n = plan.cores
    beside = list(dict.fromkeys(["0", "1t", f"{n}t", "1p", f"{n}p"]))
    if plan.args.cells_of == "quick":
        cells = [Paced(10_000, beside=f"{n}t"), Paced(1_000, beside=f"{n}t"),
                 Paced(50_000, beside=f"{n}t"), Paced(10_000), Paced(10_000, beside="1t"),
                 Paced(10_000, workers=4, beside="1p"), Paced(10_000, "compute", 5, 2, "1t"),
                 Paced(10_000, "burst", workers=4)]
    elif plan.args.cells_of == "grid":
        cells = [Paced(r, p, us, w, b) for r in RATES for p in ("sleep", "compute")
                 for us in (0, 5, 50) for w in (1, 2, 4) for b in beside]
        cells += [Paced(10_000, "burst", 0, w, b) for w in (1, 2, 4) for b in beside]
    else:  # every rate beside everybody; of the rest, what a change is likely to show in
        cells = [Paced(r, beside=b) for r in RATES for b in beside]
        cells += [Paced(r, "compute", beside=b) for r in RATES[1:] for b in ("0", "1p")]
        cells += [Paced(r, us=us, workers=2, beside=b) for r in RATES[1:3] for us in (5, 50)
                  for b in ("0", f"{n}t")]
        cells += [Paced(r, workers=w, beside=b) for r in RATES[1:] for w in (2, 4)
                  for b in ("0", f"{n}p")]
        cells += [Paced(10_000, "burst", workers=w, beside=b) for w in (1, 4)
                  for b in ("0", f"{n}t")]
    return [str(c) for c in dict.fromkeys(cells) if not c.is_overload(n)]


def run_paced(plan, name, cell):
    c = Paced.of(cell)
    ms = plan.args.ms * (3 if c.rate == 100 else 1)
    return plan.command("service", "paced", name, *cell.split("-"), ms)


def rate_is(*rates):
    """One by one at these rates. The first of a burst follows a quiet spell, and wakes at once."""
    return lambda results, cell: (Paced.of(cell).rate in rates and
                                  Paced.of(cell).pacing != "burst")


def run_futex_calls(plan, name, cell):
    """Futex calls a task, whoever makes them, beyond those without a pool. strace slows each of
    them, so the rate is low."""
    trace = plan.args.results / "futex.txt"
    words = plan.command("service", "paced", name, cell, "sleep", 0, 1, 0, 500)
    printed = plan.output_of(["strace", "-f", "-c", "-e", "trace=futex", "-o", trace, *words])
    calls = 0
    for line in trace.read_text(encoding="utf-8").splitlines():
        if line.endswith(" futex"):
            calls = float(line.split()[3])
    trace.unlink()
    tasks = plan.quantities(printed)["tasks"]
    return {"futex_calls": calls / tasks}


# --- Others --------------------------------------------------------------------------------------

CELLS = ["1x1", "1x2", "2x1", "2x2", "4x4", "8x8", "1x16"]
STATES = ["busy", "parked", "full"]


def saturated_who(plan):
    return [name + mode for name in plan.kinds if plan.kinds[name] not in ("delayed", "none")
            for mode in ([""] if name not in plan.can_block else ["", "/wait"])]


def run_throughput(plan, name, cell):
    name, _, mode = name.partition("/")
    return plan.command("throughput", None, name, mode or "try", cell, plan.args.ms)


def run_real_tasks(plan, name, cell):
    """Tasks of so many microseconds."""
    us = int(cell.removesuffix("us"))
    iterations = round(plan.iterations_per_us() * us)
    return plan.command("real_tasks", None, name, iterations,
                        max(1000, plan.args.ms * 1000 * plan.cores // us))


def run_compile_time(plan, source, cell):
    """Processor time of a compilation, which other load disturbs less than wall time."""
    compiler, level = cell.split()

    def children():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
    before = children()
    plan.output_of(["env", "CCACHE_DISABLE=1", compiler, "-std=c++20", level, "-I", INCLUDE, "-c",
                    HERE / "compile_time" / f"{source}.cpp", "-o", os.devnull])
    return {"cpu_s": children() - before}


def pools(plan, *without):
    return [name for name, kind in plan.kinds.items()
            if kind not in ("limit", "delayed", "baseline", "none") and name not in without]


def counted(what, relation, target, quantity):
    return Target(what, relation, target, value("fanout", quantity))


# --- In service, then saturated --------------------------------------------------------------------

SERVICE = [
    Measure(
        "paced", "service", paced_cells,
        who=lambda plan: ["none", *(n for n, k in plan.kinds.items() if k != "limit")],
        run=run_paced,
        targets=[
            Target("CPU a task over the least of all peers", "≤", 1.05, cpu_ratio("fanout"),
                   in_spread=True),
            Target("points that a neighbour loses more than without a pool", "≤", 1,
                   more_loss("none")),
            Target("points that a neighbour loses more than with the best peer", "≤", 1,
                   more_loss(*PEERS)),
            Target("submission to start, p50, over the peers compared in time", "≤", 1.1,
                   time_ratio("fanout", "wait_p50_ns"), in_spread=True),
            Target("submission to start, p99, over the peers compared in time", "≤", 1.1,
                   time_ratio("fanout", "wait_p99_ns"), in_spread=True),
            Target("submission to start, p99, where a core is free, ms", "≤", 1,
                   value("fanout", "wait_p99_ns", 1e-6),
                   lambda r, c: Paced.of(c).has_free_core(r.cores) and Paced.of(c).us == 0),
            Target("wake_delay: a submission, p50, µs", "≤", 0.1,
                   value("fanout_delay", "call_p50_ns", 1e-3), rate_is(10_000, 50_000)),
            Target("wake_delay: a submission, p99, µs", "≤", 0.5,
                   value("fanout_delay", "call_p99_ns", 1e-3), rate_is(10_000, 50_000)),
            Target("wake_delay: a submission, p99.9, µs", "≤", 1,
                   value("fanout_delay", "call_p999_ns", 1e-3), rate_is(10_000, 50_000)),
            Target("wake_delay: a submission, p99, over the peers compared in time", "≤", 0.05,
                   time_ratio("fanout_delay", "call_p99_ns"), rate_is(10_000, 50_000)),
            Target("wake_delay: CPU a task over the best peer, 10,000/s", "≤", 0.333,
                   cpu_ratio("fanout_delay"), rate_is(10_000)),
            Target("wake_delay: CPU a task over the best peer, 50,000/s", "≤", 0.2,
                   cpu_ratio("fanout_delay"), rate_is(50_000)),
            Target("wake_delay: CPU a task over none, 100 and 1,000/s", "≤", 1,
                   cpu_ratio("fanout_delay", ["fanout"]), rate_is(100, 1_000), in_spread=True),
            Target("wake_delay: submission to start, p99, ms", "≤", 1.2,
                   value("fanout_delay", "wait_p99_ns", 1e-6)),
        ],
        shown=[("cpu_ns", 1e-3, "CPU a task beyond the pacing, µs"),
               ("loss_percent", 1, "what a neighbour loses, %"),
               ("call_p50_ns", 1e-3, "a submission, p50, µs"),
               ("call_p99_ns", 1e-3, "a submission, p99, µs"),
               ("call_p999_ns", 1e-3, "a submission, p99.9, µs"),
               ("wait_p50_ns", 1e-3, "submission to start, p50, µs"),
               ("wait_p99_ns", 1e-3, "submission to start, p99, µs"),
               ("wait_max_ns", 1e-3, "submission to start, most, µs"),
               ("last_p99_ns", 1e-3, "burst of 100 until the last starts, p99, µs"),
               ("switches", 1, "context switches a task"),
               ("sleeps", 1, "sleeps of the submitter, a task")]),
    Measure(
        "blocking", "service", lambda plan: ["4", "16"],
        who=lambda plan: [n for n, k in plan.kinds.items() if k != "limit"],
        run=lambda plan, name, cell: plan.command("service", "blocking", name, cell, plan.args.ms),
        targets=[
            # Go's sleepers are no threads: starting them asks nothing of the kernel.
            Target("the last of n sleeping threads starts, over the best peer's", "≤", 1,
                   ratio("fanout", "last_p50_ns", ("pool", "queue"), min), in_spread=True),
            Target("wake_delay: the last of n sleeping threads starts, over the best peer's", "≤",
                   1, ratio("fanout_delay", "last_p50_ns", ("pool", "queue"), min),
                   in_spread=True)],
        shown=[("last_p50_ns", 1e-3, "the last of n sleepers starts, p50, µs"),
               ("last_p99_ns", 1e-3, "the last of n sleepers starts, p99, µs")]),
    Measure(
        "overshoot", "service",
        lambda plan: [f"{call}-{plan.cores}p" for call in
                      ("try_do_for", "wait_idle_for", "close_for", "group_wait_for")],
        who=lambda plan: [n for n, k in plan.kinds.items() if k in ("fanout", "baseline")],
        run=lambda plan, name, cell: plan.command("service", "overshoot", name, *cell.split("-"),
                                                  plan.args.ms, is_named=False),
        targets=[Target(f"overshoot on busy cores, {q}, over a condition variable's", "≤", 1.2,
                        ratio("fanout", f"{q}_ns", ["fanout"], other=f"condvar_{q}_ns"),
                        in_spread=True) for q in ("p50", "p99")],
        shown=[(q + "_ns", 1e-3, "overshoot, " + q.replace("_", ", ") + ", µs")
               for q in ("p50", "condvar_p50", "p99", "condvar_p99")]),
    Measure(
        "kernel_calls", "service", lambda plan: [f"{rate}-2" for rate in RATES],
        who=lambda plan: [n for n, k in plan.kinds.items() if k in ("fanout", "delayed")],
        run=lambda plan, name, cell: plan.command("service", "kernel_calls", name,
                                                  *cell.split("-"), 300),
        targets=[
            Target("wake_delay: wakes by a submitter, a task", "≤", 0.01,
                   value("fanout_delay", "submitter_wakes"),
                   lambda results, cell: int(cell.split("-")[0]) >= 10_000),
            Target("wakes, naps and parks of a quiet pool", "=", 0, value("fanout", "quiet_calls")),
            Target("wake_delay: the same", "=", 0, value("fanout_delay", "quiet_calls"))],
        shown=[("submitter_wakes", 1, "wakes by a submitter, a task"),
               ("worker_wakes", 1, "wakes by workers, a task"), ("parks", 1, "parks, a task"),
               ("naps", 1, "naps, a task")],
        most_rounds=3),
    Measure(
        "futex", "service",
        lambda plan: ["1000"] if shutil.which("strace") and plan.args.cells_of != "quick" else [],
        who=lambda plan: ["none", *(n for n, k in plan.kinds.items() if k != "limit")],
        run=run_futex_calls, shown=[("futex_calls", 1, "futex calls a task, under strace")],
        most_rounds=1),
    Measure(
        "parked", "service", lambda plan: ["16"],
        who=lambda plan: ["none", *(n for n, k in plan.kinds.items() if k != "limit")],
        run=lambda plan, name, cell: plan.command("service", "parked", name, cell, 500),
        targets=[Target("CPU share of 16 parked workers", "<", 0.001,
                        value("fanout", "cpu_share")),
                 Target("wake_delay: the same", "<", 0.001, value("fanout_delay", "cpu_share"))],
        shown=[("cpu_share", 100, "16 parked workers, % of a core"),
               ("switches_per_s", 1, "16 parked workers, switches a second")],
        most_rounds=3),
    Measure(
        "wake_latency", "service", lambda plan: ["-"],
        who=lambda plan: ["futex", *pools(plan, "go")],
        run=lambda plan, name, cell: plan.command("wake_latency", None, name, plan.args.ms),
        targets=[Target("wake latency over a futex hand-off", "≤", 1.1,
                        ratio("fanout", "p50_ns", ["futex"]), in_spread=True)],
        shown=[("p50_ns", 1e-3, "wake latency, p50, µs"), ("p99_ns", 1e-3, "p99")]),
]

SATURATED = [
    Measure(
        "throughput", "saturated", lambda plan: plan.args.cells, who=saturated_who,
        run=run_throughput,
        targets=[
            Target("tiny tasks/s over version 0.1", "≥", 0.9,
                   ratio("fanout", "tasks_per_s", ["baseline"])),
            Target("the same, geometric mean of the cells", "≥", 1,
                   ratio("fanout", "tasks_per_s", ["baseline"]), is_mean=True),
            Target("over the best complete C++ pool", "≥", 5,
                   ratio("fanout", "tasks_per_s", ("pool",))),
            Target("over a Go channel pool", "≥", 3, ratio("fanout", "tasks_per_s", ("go",))),
            Target("over the best bare queue with a function type", "≥", 2.5,
                   ratio("fanout", "tasks_per_s", ("queue",))),
            Target("over the better of the bare rings", "≥", 0.8,
                   ratio("fanout", "tasks_per_s", ("limit",))),
            Target("do_wait over retrying", "≥", 0.8,
                   ratio("fanout/wait", "tasks_per_s", ["fanout"])),
            Target("CPU of do_wait over retrying", "<", 1,
                   ratio("fanout/wait", "cpu_ns_per_task", ["fanout"])),
        ],
        shown=[("tasks_per_s", 1e-6, "tiny tasks, millions a second"),
               ("cpu_ns_per_task", 1, "CPU a tiny task, ns")]),
    Measure(
        "fill_drain", "saturated", lambda plan: ["-"],
        who=lambda plan: plan.output_of([plan.programs / "fill_drain", "--list"]).split(),
        run=lambda plan, name, cell: plan.command("fill_drain", None, name, plan.args.ms),
        targets=[
            Target("fill over the bare ring", "≤", 1.3, ratio("fanout", "fill_ns", ("limit",), min)),
            Target("drain over the bare ring", "≤", 1.5, ratio("fanout", "drain_ns", ("limit",), min)),
            Target("refusal over a fill", "≤", 0.5,
                   ratio("fanout", "refuse_ns", ["fanout"], other="fill_ns")),
            Target("do_evict on a full pool over a fill", "≤", 2,
                   ratio("fanout_evict", "evict_ns", ["fanout"], other="fill_ns")),
            Target("bulk of 64 over 64 singles", "≤", 0.7,
                   ratio("fanout_bulk", "fill_ns", ["fanout"]))],
        shown=[("fill_ns", 1, "fill, ns"), ("drain_ns", 1, "drain, ns"),
               ("refuse_ns", 1, "refuse, ns"), ("evict_ns", 1, "evict, ns")]),
    Measure(
        "caller_cost", "saturated", lambda plan: STATES, who=pools,
        run=lambda plan, name, cell: plan.command("caller_cost", None, name, cell, plan.args.ms),
        targets=[Target(f"a submission, {label}, busy pool, over the best peer", "<", 1,
                        ratio("fanout", quantity, PEERS, min), lambda r, c: c == "busy")
                 for quantity, label in [("p50_ns", "p50"), ("p99_ns", "p99"),
                                         ("p999_ns", "p99.9")]],
        shown=[("p50_ns", 1, "a submission, p50, ns"), ("p99_ns", 1, "a submission, p99, ns"),
               ("p999_ns", 1, "a submission, p99.9, ns")]),
    Measure(
        "group", "saturated", lambda plan: ["-"],
        who=lambda plan: plan.output_of([plan.programs / "group", "--list"]).split(),
        run=lambda plan, name, cell: plan.command("group", None, name, plan.args.ms),
        targets=[Target("group of 1,000, per task, over oneTBB's task_group", "<", 1,
                        ratio("fanout", "ns_per_task", ["tbb_task_group"]))],
        shown=[("ns_per_task", 1, "group of 1,000, ns a task")]),
    Measure(
        "counts", "saturated", lambda plan: ["-"], who=lambda plan: ["fanout"],
        run=lambda plan, name, cell: [plan.programs / "counts"],
        targets=[counted("claims in a bulk of 64", "=", 1, "claims_per_bulk"),
                 counted("allocations a task", "=", 0, "allocations_per_task"),
                 counted("allocations a refusal", "=", 0, "allocations_per_refusal"),
                 counted("allocations an eviction", "=", 0, "allocations_per_eviction"),
                 counted("bytes a slot", "=", 64, "slot_bytes"),
                 counted("bytes of an untouched slot", "<", 1, "untouched_slot_bytes"),
                 counted("bytes a pool besides", "<", 4096, "pool_bytes"),
                 counted("bytes a worker besides", "<", 1024, "worker_bytes")],
        most_rounds=1),
    Measure(
        "real_tasks", "saturated", lambda plan: ["1us", "10us"],
        who=lambda plan: ["ideal", *pools(plan)], run=run_real_tasks,
        targets=[Target(f"{us} µs tasks with do_wait, of the ideal", "≥", least,
                        ratio("ideal", "wall_ns_per_task", ["fanout"]),
                        lambda r, c, us=us: c == f"{us}us") for us, least in ((1, 0.9), (10, 0.98))],
        shown=[("wall_ns_per_task", 1, "tasks of microseconds, ns")]),
    Measure(
        "compile_time", "saturated",
        lambda plan: [f"{compiler} {level}" for compiler in ("g++", "clang++")
                      if shutil.which(compiler) for level in ("-O0", "-O2")],
        who=lambda plan: ["pool", "standard"], run=run_compile_time,
        targets=[Target("compile time over a jthread's", "≤", 1.5,
                        ratio("pool", "cpu_s", ["standard"]))],
        shown=[("cpu_s", 1, "compile time, CPU s")], most_rounds=7),
    Measure(
        "instructions", "saturated",
        lambda plan: ["-"] if (plan.programs / "instructions").exists() and
        shutil.which("valgrind") else [],
        who=lambda plan: ["fanout"],
        run=lambda plan, name, cell: [HERE / "count_instructions", plan.programs / "instructions"],
        shown=[(q, 1, f"instructions, {q}") for q in ("submit", "bulk", "refuse", "run")],
        most_rounds=1),
]

MEASURES = SERVICE + SATURATED
