"""Commands for gdb: what the fanout pools of a process hold, alive or in a core file.

    (gdb) source fanout.py
    (gdb) fanout pools         each pool: name, state, counts
    (gdb) fanout tasks NAME    what runs, since when, and what waits, in order, with places of submission

Needs debug information (-g) of one unit that makes a pool; optimised code will do. What runs is told
of pools whose Policy::timed is true, and in their clock: in a core file, "since" is an age at the time
of the last task that began. SPDX-License-Identifier: MIT.
"""

import re
import gdb


def atomic(value):
    """A std::atomic, of libstdc++ or libc++, or a counter of the header."""
    names = [f.name for f in value.type.strip_typedefs().fields()]
    if "value_" in names:
        return atomic(value["value_"])
    for name in ("_M_i", "__a_", "__a_value", "_M_base"):
        if name in names:
            field = value[name]
            return int(field) if field.type.strip_typedefs().code == gdb.TYPE_CODE_INT or \
                field.type.strip_typedefs().code == gdb.TYPE_CODE_BOOL else atomic(field)
    return atomic(value[value.type.strip_typedefs().fields()[0]])  # a base


def pointer(unique):
    """What a std::unique_ptr holds."""
    text = unique.type.strip_typedefs()
    for field in text.fields():
        value = unique[field]
        if value.type.strip_typedefs().code == gdb.TYPE_CODE_PTR:
            return value
        if value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT:
            found = pointer(value)
            if found is not None:
                return found
    return None


def text(string):
    """A std::string."""
    try:
        return string["_M_dataplus"]["_M_p"].string(length=int(string["_M_string_length"]))
    except gdb.error:
        return string.format_string().strip('"')


def place(where):
    """A std::source_location, or the header's stand-in, as file:line."""
    fields = [f.name for f in where.type.strip_typedefs().fields()]
    if "file_" in fields:
        return f'{where["file_"].string()}:{int(where["line_"])}'
    inner = where[fields[0]]
    if int(inner) == 0:
        return "nowhere"
    inner = inner.dereference()
    return f'{inner["_M_file_name"].string()}:{int(inner["_M_line"])}'


def pools():
    """Every pool of the process, as a gdb.Value of its own type. Each copy of the code has a list."""
    names = set(re.findall(r"fanout::\w+::detail::inheritance::own_list\(\)::the",
                           gdb.execute("info variables own_list", to_string=True)))
    for name in sorted(names):
        space = name.split("::")[1]
        kind = gdb.lookup_type(f"fanout::{space}::detail::inheritance::list")
        address = int(gdb.parse_and_eval(f"(unsigned long)&'{name}'"))
        node = gdb.Value(address).cast(kind.pointer()).dereference()["first"]
        while int(node) != 0:
            function = gdb.execute(f'info symbol {int(node["disown_"])}', to_string=True)
            found = re.match(r"(?:static )?(fanout::.*basic_pool<.*>)::basic_pool\(", function)
            if found is not None:
                of = gdb.lookup_type(found.group(1))
                yield node["pool_"].cast(of.pointer()).dereference()
            node = node["next_"]


class Ring:
    """Its positions: a lap, and an index in the low bits."""

    def __init__(self, ring):
        self.slots = ring["slots_"]
        self.capacity = int(ring["capacity_"])
        self.lap = int(ring["one_lap_"])
        tail = atomic(ring["tail_"])
        self.closed = tail >> 63 != 0
        self.tail = tail & ~(1 << 63)
        self.head = atomic(ring["head_"])

    def ordinal(self, position):
        return position // self.lap * self.capacity + position % self.lap

    def waiting(self):
        position = self.head
        while position != self.tail:
            slot = (self.slots + position % self.lap).dereference()
            yield atomic(slot["stamp"]) == position + 1, slot
            position += 1
            if position % self.lap == self.capacity:
                position += self.lap - self.capacity


def records(pool):
    first = pointer(pool["records_"])
    return [(first + i).dereference() for i in range(int(pool["options_"]["workers"]))]


def show_pools():
    for pool in pools():
        ring = Ring(pool["ring_"])
        counts = {"completed": 0, "failed": 0, "discarded": atomic(pool["discarded_"])}
        for record in records(pool):
            for name in counts:
                counts[name] += atomic(record[name])
        accepted = ring.ordinal(ring.tail)
        taken = ring.ordinal(ring.head)
        state = "open" if not ring.closed else "drained" if accepted == taken else "closed"
        print(f'{text(pool["options_"]["name"])}: {state}, {int(pool["options_"]["workers"])} workers, '
              f'{accepted - taken} of {ring.capacity} waiting, {taken - sum(counts.values())} running; '
              f'accepted {accepted}, ' + ", ".join(f"{k} {v}" for k, v in counts.items()) +
              f', rejected {atomic(pool["rejected_"])}')


def shown(record):
    """What a worker of a timed pool shows: when it began, in ns of the clock, and the place."""
    lock = record["shown"]
    words = lock["words_"]["_M_elems"]
    task = gdb.lookup_type(re.sub(r"worker_record<.*", "shown_task", str(record.type.unqualified())))
    task = words.address.cast(task.pointer()).dereference()
    since = task["since"]["__d"]["__r"]
    return int(since), task["where"]


def show_tasks(name):
    for pool in pools():
        if text(pool["options_"]["name"]) != name:
            continue
        workers = records(pool)
        if any(f.name == "shown" for base in workers[0].type.fields() if base.is_base_class
               for f in base.type.fields()):
            running = [(i, *shown(record)) for i, record in enumerate(workers)]
            newest = max((since for _, since, _ in running), default=0)
            for i, since, where in running:
                if since != 0:
                    print(f"runs on {name}/{i}, began {(newest - since) / 1e9:.3f} s before the last: "
                          f"{place(where)}")
        else:
            print("what runs is told of timed pools only")
        for number, (published, slot) in enumerate(Ring(pool["ring_"]).waiting(), 1):
            print(f"waits {number}: " + (place(slot["where"]) if published else "being submitted"))
        return
    print(f"no pool is named {name}")


class Fanout(gdb.Command):
    """fanout pools | fanout tasks NAME: what the fanout pools of the process hold."""

    def __init__(self):
        super().__init__("fanout", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        words = argument.split(None, 1)
        if words == ["pools"]:
            show_pools()
        elif len(words) == 2 and words[0] == "tasks":
            show_tasks(words[1])
        else:
            print(self.__doc__)


Fanout()
