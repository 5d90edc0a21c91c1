"""check_timeline.py FILE RUNS REFUSALS: the trace parses, spans of a thread nest, each run has its wait
and its arrow, and the numbers are those of the pool's stats."""

import collections
import json
import sys

file, runs, refusals = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(file) as opened:
    events = json.load(opened)
by = collections.defaultdict(list)
for event in events:
    by[event["ph"], event["name"]].append(event)

assert len(by["X", "run"]) == runs, f'{len(by["X", "run"])} runs'
assert len(by["i", "the buffer is full"]) == refusals, "refusals"
assert len(by["X", "submit"]) == runs + refusals, "submissions"
ids = {event["id"] for event in by["X", "run"]}
assert len(ids) == runs, "a task runs once"
for phase, name in (("s", "submitted"), ("f", "submitted"), ("b", "wait"), ("e", "wait")):
    assert {event["id"] for event in by[phase, name]} == ids, f"{phase} {name}"
began = {event["id"]: event["ts"] for event in by["b", "wait"]}
for event in by["X", "run"]:
    assert event["ts"] >= began[event["id"]], "a task runs after its submission"

threads = collections.defaultdict(list)
for event in by["X", "run"] + by["X", "submit"]:
    threads[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
for spans in threads.values():
    open_until = []
    for begin, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        while open_until and open_until[-1] <= begin:
            open_until.pop()
        assert not open_until or end <= open_until[-1], "spans of a thread nest"
        open_until.append(end)
print(f"{len(threads)} threads, {len(events)} events")
