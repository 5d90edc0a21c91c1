// Histories of a pool's calls and starts, and whether the contract allows them.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_TESTS_HISTORY_HPP
#define FANOUT_TESTS_HISTORY_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// What some threads saw, each event with the time it began and ended. At most 16 tasks, numbered
/// from 0, and 64 points.
///
/// is_linearizable() looks for one instant for each point between its two times, so that the
/// sequence of all is a run of this machine: a queue of tasks in order of acceptance, a closed bit,
/// and for each task whether it waits, was taken, or was taken and has left its slot. The task
/// accepted as number k uses the slot of number k - capacity. So
///   accept   needs that slot vacated, and not closed
///   full     needs it not vacated (waiting or being emptied; being filled counts as waiting), and
///            not closed
///   closed   needs closed
///   take     is of the oldest task that was not taken
///   vacate   follows the take of the same task
/// A start is the end of both a take and a vacate: a task runs when it has left its slot. At the
/// end every accepted task was taken and its slot vacated.
class history {
 public:
  using time = std::uint64_t;

  explicit history(std::size_t capacity) : capacity_(capacity) {}

  void accepted(std::size_t task, time from, time to) { add(what::accept, task, from, to); }
  void refused_full(time from, time to) { add(what::full, 0, from, to); }
  void refused_closed(time from, time to) { add(what::closed, 0, from, to); }
  void close(time from, time to) { add(what::close, 0, from, to); }
  void saw_open(time from, time to) { add(what::open, 0, from, to); }
  void saw_closed(time from, time to) { add(what::closed, 0, from, to); }
  /// The task began at `to`; its worker was busy with something else until `from`.
  void started(std::size_t task, time from, time to) {
    add(what::take, task, from, to);
    add(what::vacate, task, from, to);
  }

  /// Searches as Wing and Gong do, and never twice from the same state (Lowe). `states` counts.
  bool is_linearizable(std::uint64_t* states = nullptr) {
    seen_.clear();
    const bool found = search({});
    if (states != nullptr) *states += seen_.size();
    return found;
  }

  /// Every point, one a line, by its beginning.
  std::string text() const {
    constexpr const char* names[] = {"accept", "full", "closed", "open", "close", "take", "vacate"};
    auto points = points_;
    std::sort(points.begin(), points.end(),
              [](const point& a, const point& b) { return a.from < b.from; });
    std::string lines;
    for (const point& p : points) {
      lines += '\n' + std::to_string(p.from) + " to " + std::to_string(p.to) + ' ' +
               names[static_cast<std::size_t>(p.kind)] + ' ' + std::to_string(p.task);
    }
    return lines;
  }

  /// Pairs of calls that overlap; starts, before which a worker may have slept, do not count.
  std::uint64_t overlaps() const {
    std::uint64_t n = 0;
    for (const point& p : points_) {
      for (const point& q : points_) {
        n += is_call(p) && is_call(q) && p.from < q.from && q.from < p.to;
      }
    }
    return n;
  }

 private:
  enum class what { accept, full, closed, open, close, take, vacate };
  struct point {
    what kind;
    std::size_t task;
    time from, to;
  };
  static bool is_call(const point& p) { return p.kind != what::take && p.kind != what::vacate; }

  struct state {
    std::uint64_t done = 0;   // points
    std::uint64_t order = 0;  // tasks by acceptance, four bits each
    std::size_t accepted = 0, taken = 0;
    std::uint32_t vacated = 0;  // tasks
    bool is_closed = false;
  };

  void add(what kind, std::size_t task, time from, time to) {
    if (points_.size() == 64 || task >= 16 || from >= to) std::abort();
    points_.push_back({kind, task, from, to});
  }

  static std::size_t at(const state& s, std::size_t number) { return s.order >> (4 * number) & 15; }
  bool is_slot_vacated(const state& s) const {
    return s.accepted < capacity_ || (s.vacated >> at(s, s.accepted - capacity_) & 1) != 0;
  }

  /// The machine's step, if it may take it.
  bool step(state& s, const point& p) const {
    switch (p.kind) {
      case what::accept:
        if (s.is_closed || !is_slot_vacated(s)) return false;
        s.order |= std::uint64_t{p.task} << (4 * s.accepted++);
        return true;
      case what::full: return !s.is_closed && !is_slot_vacated(s);
      case what::closed: return s.is_closed;
      case what::open: return !s.is_closed;
      case what::close: s.is_closed = true; return true;
      case what::take:
        if (s.taken == s.accepted || at(s, s.taken) != p.task) return false;
        ++s.taken;
        return true;
      case what::vacate:
        for (std::size_t k = 0; k < s.taken; ++k) {
          if (at(s, k) == p.task) return s.vacated |= 1u << p.task, true;
        }
        return false;
    }
    return false;
  }

  bool search(state s) {
    if (s.done == all()) return s.accepted == s.taken;
    if (!seen_.emplace(s.done, s.order).second) return false;
    time first_end = std::numeric_limits<time>::max();
    for (std::size_t i = 0; i < points_.size(); ++i) {
      if ((s.done >> i & 1) == 0) first_end = std::min(first_end, points_[i].to);
    }
    for (std::size_t i = 0; i < points_.size(); ++i) {
      const point& p = points_[i];
      if ((s.done >> i & 1) != 0 || p.from > first_end) continue;
      state next = s;
      next.done |= std::uint64_t{1} << i;
      if (!step(next, p)) continue;
      if (search(next)) return true;
      // What changes nothing loses nothing by coming first.
      if (p.kind == what::full || p.kind == what::closed || p.kind == what::open) return false;
    }
    return false;
  }

  std::uint64_t all() const {
    return points_.size() == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << points_.size()) - 1;
  }

  std::size_t capacity_;
  std::vector<point> points_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen_;
};

/// One task of a large history: its accepted submission, when its worker ended the task before, and
/// its start.
struct passage {
  std::uint64_t submitted_from, submitted_to, free_from, started;
};

/// How many tasks certainly were taken after one that was accepted later: their submission had
/// returned before the other's began, and when the other started, their worker was still busy with
/// the task before. With one worker that is every task out of order.
inline std::size_t overtaken(std::vector<passage> tasks) {
  auto by_end = tasks;
  std::sort(by_end.begin(), by_end.end(),
            [](const auto& a, const auto& b) { return a.submitted_to < b.submitted_to; });
  std::sort(tasks.begin(), tasks.end(),
            [](const auto& a, const auto& b) { return a.submitted_from < b.submitted_from; });
  std::size_t n = 0;
  std::uint64_t latest = 0;  // among those accepted before, when the last could be taken
  auto before = by_end.begin();
  for (const passage& task : tasks) {
    for (; before != by_end.end() && before->submitted_to < task.submitted_from; ++before) {
      latest = std::max(latest, before->free_from);
    }
    if (latest > task.started) ++n;
  }
  return n;
}

}  // namespace support

#endif  // FANOUT_TESTS_HISTORY_HPP
