// try_do_bulk: accepts a prefix and says how long it is and why it ended.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <functional>
#include <iterator>
#include <list>
#include <memory>
#include <numeric>
#include <ranges>
#include <span>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::bulk_result;
using fanout::errc;
using fanout::ErrClosed;
using fanout::ErrFull;
using fanout::pool;
using support::watched_sync;

/// Appends its number to a list that only one worker writes.
struct append {
  std::vector<int>* to;
  int number;
  void operator()() const { to->push_back(number); }
};

std::vector<append> numbers(std::vector<int>& to, int count) {
  std::vector<append> tasks;
  for (int i = 0; i < count; ++i) tasks.push_back({&to, i});
  return tasks;
}

std::vector<int> first(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// --- The prefix

TEST(Bulk, AcceptsAllWhereThereIsRoom) {
  std::vector<int> ran;
  pool p;
  const bulk_result result = p.try_do_bulk(numbers(ran, 100));
  EXPECT_EQ(result.accepted, 100u);
  EXPECT_FALSE(result.error);
  EXPECT_NE(result.error, errc::full);
  p.close();
  EXPECT_EQ(ran, first(100));
}

// Every room from none to all, wherever in the buffer it begins.
TEST(Bulk, AcceptsThePrefixThatFits) {
  for (const std::size_t n : {1u, 2u, 5u, 8u}) {
    for (std::size_t room = 0; room <= n; ++room) {
      std::vector<int> ran;
      pool p{{.buffer = n}};
      for (std::size_t round = 0; round < n + 2; ++round) {
        {
          support::occupied busy(p);
          for (std::size_t i = room; i < n; ++i) ASSERT_FALSE(p.try_do([] {}));
          const bulk_result result = p.try_do_bulk(numbers(ran, static_cast<int>(n) + 3));
          ASSERT_EQ(result.accepted, room);
          ASSERT_EQ(result.error, ErrFull);
          ASSERT_EQ(p.size(), n);
          ASSERT_EQ(p.try_do([] {}), ErrFull);
        }
        ASSERT_FALSE(p.wait_idle());
        ASSERT_EQ(ran, first(static_cast<int>(room)));
        ran.clear();
      }
    }
  }
}

TEST(Bulk, ThatFitsExactlyIsNotRefused) {
  std::vector<int> ran;
  pool p{{.buffer = 5}};
  support::occupied busy(p);
  const bulk_result result = p.try_do_bulk(numbers(ran, 5));
  EXPECT_EQ(result.accepted, 5u);
  EXPECT_FALSE(result.error);
  busy.release();
  p.close();
  EXPECT_EQ(ran, first(5));
}

TEST(Bulk, CountsAsOneRejectedCall) {
  std::vector<int> ran;
  const auto tasks = numbers(ran, 5);
  const std::forward_list<append> list(tasks.begin(), tasks.end());
  pool p{{.buffer = 3}};
  support::occupied busy(p);
  EXPECT_EQ(p.try_do_bulk(tasks).accepted, 3u);
  EXPECT_EQ(p.stats().rejected, 1u);
  EXPECT_EQ(p.try_do_bulk(tasks).accepted, 0u);
  EXPECT_EQ(p.stats().rejected, 2u);
  EXPECT_EQ(p.try_do_bulk(list).accepted, 0u);
  EXPECT_EQ(p.stats().rejected, 3u);
  busy.release();
  p.close();
}

TEST(Bulk, ByAClosedPoolIsRefusedWhole) {
  std::vector<int> ran;
  pool p;
  p.close();
  const bulk_result result = p.try_do_bulk(numbers(ran, 5));
  EXPECT_EQ(result.accepted, 0u);
  EXPECT_EQ(result.error, ErrClosed);
}

TEST(Bulk, OfNothingSucceeds) {
  pool p;
  for (int i = 0; i < 2; ++i) {
    for (const bulk_result& result :
         {p.try_do_bulk(std::vector<append>()), p.try_do_bulk(std::forward_list<append>()),
          p.try_do_bulk(std::span<append>())}) {
      EXPECT_EQ(result.accepted, 0u);
      EXPECT_FALSE(result.error);
    }
    p.close();
  }
  EXPECT_EQ(p.stats().accepted, 0u);
}

TEST(Bulk, EndsAtAnEmptyTask) {
  std::atomic<int> runs{0};
  const std::function<void()> task = [&] { ++runs; };
  const std::function<void()> empty;
  pool p;
  const auto expect = [&](const std::vector<std::function<void()>>& tasks, std::size_t accepted) {
    const bulk_result at_once = p.try_do_bulk(tasks);
    EXPECT_EQ(at_once.accepted, accepted);
    EXPECT_EQ(at_once.error, errc::empty_task);
    std::forward_list<std::function<void()>> list(tasks.begin(), tasks.end());
    const bulk_result singly = p.try_do_bulk(list);
    EXPECT_EQ(singly.accepted, accepted);
    EXPECT_EQ(singly.error, errc::empty_task);
  };
  expect({task, task, empty, task}, 2);
  expect({empty, task}, 0);
  expect({task, empty}, 1);
  p.close();
  EXPECT_EQ(runs, 6);
}

void nothing() {}
using pointer = void (*)();

TEST(Bulk, EndsAtANullPointer) {
  pool p{{.buffer = 2}};
  const std::array<pointer, 4> tasks{&nothing, nullptr, &nothing, nullptr};
  bulk_result result = p.try_do_bulk(tasks);  // claimed in one step
  EXPECT_EQ(result.accepted, 1u);
  EXPECT_EQ(result.error, errc::empty_task);
}

// What stopped the prefix is the answer for the first element that was not accepted.
TEST(Bulk, SaysWhyTheFirstRefusedElementWasRefused) {
  const std::array<pointer, 3> tasks{&nothing, &nothing, nullptr};
  const auto try_with_room = [&](std::size_t room) {
    pool p{{.buffer = 2}};
    support::occupied busy(p);
    for (std::size_t i = room; i < 2; ++i) EXPECT_FALSE(p.try_do([] {}));
    const bulk_result at_once = p.try_do_bulk(tasks);
    EXPECT_EQ(at_once.accepted, room);
    return at_once.error;
  };
  EXPECT_EQ(try_with_room(0), errc::full);
  EXPECT_EQ(try_with_room(1), errc::full);
  EXPECT_EQ(try_with_room(2), errc::empty_task);

  const std::array<pointer, 2> empty_first{nullptr, &nothing};
  pool p{{.buffer = 1}};
  support::occupied busy(p);
  ASSERT_EQ(support::fill(p), 1u);
  EXPECT_EQ(p.try_do_bulk(empty_first).error, errc::empty_task);
  p.request_stop();
  EXPECT_EQ(p.try_do_bulk(empty_first).error, errc::empty_task);
  EXPECT_EQ(p.try_do_bulk(tasks).error, errc::closed);
}

TEST(Bulk, OnAWorkerOfAFullPoolIsAnsweredFull) {
  pool p{{.buffer = 2}};
  const std::array<pointer, 3> tasks{&nothing, &nothing, &nothing};
  const auto results = support::on_worker(p, [&] {
    return std::array{p.try_do_bulk(tasks), p.try_do_bulk(tasks)};
  });
  EXPECT_EQ(results[0].accepted, 2u);
  EXPECT_EQ(results[0].error, ErrFull);
  EXPECT_EQ(results[1].accepted, 0u);
  EXPECT_EQ(results[1].error, ErrFull);
}

// --- Kinds of ranges

template <class Range>
std::vector<int> order_of(std::vector<int>& ran, Range&& range, std::size_t size) {
  pool p;
  const bulk_result result = p.try_do_bulk(std::forward<Range>(range));
  EXPECT_EQ(result.accepted, size);
  EXPECT_FALSE(result.error);
  p.close();
  return std::exchange(ran, {});
}

TEST(BulkRange, MayBeAnyInputRange) {
  std::vector<int> ran;
  auto tasks = numbers(ran, 20);
  const auto expected = first(20);
  EXPECT_EQ(order_of(ran, tasks, 20), expected);
  EXPECT_EQ(order_of(ran, std::as_const(tasks), 20), expected);
  EXPECT_EQ(order_of(ran, std::vector(tasks), 20), expected);
  EXPECT_EQ(order_of(ran, std::span(tasks), 20), expected);
  EXPECT_EQ(order_of(ran, std::list(tasks.begin(), tasks.end()), 20), expected);
  EXPECT_EQ(order_of(ran, std::forward_list(tasks.begin(), tasks.end()), 20), expected);
  EXPECT_EQ(order_of(ran, support::range{tasks.begin(), tasks.end()}, 20), expected);
  EXPECT_EQ(order_of(ran, support::input<append&>(tasks.data(), 20), 20), expected);
  EXPECT_EQ(order_of(ran, support::forward_rvalues(tasks.data(), 20), 20), expected);
  const append array[] = {{&ran, 0}, {&ran, 1}};
  EXPECT_EQ(order_of(ran, array, 2), first(2));
}

/// Makes its elements as it goes.
struct made_to_order {
  using iterator_concept = std::forward_iterator_tag;
  using value_type = append;
  using difference_type = std::ptrdiff_t;
  std::vector<int>* to = nullptr;
  int number = 0;
  append operator*() const noexcept { return {to, number}; }
  made_to_order& operator++() noexcept { return ++number, *this; }
  made_to_order operator++(int) noexcept { return {to, number++}; }
  difference_type operator-(const made_to_order& other) const noexcept {
    return number - other.number;
  }
  bool operator==(const made_to_order&) const = default;
};

TEST(BulkRange, MayMakeItsElements) {
  std::vector<int> ran;
  const support::range<made_to_order> range{{&ran, 0}, {&ran, 20}};
  static_assert(std::ranges::sized_range<decltype(range)>);
  EXPECT_EQ(order_of(ran, range, 20), first(20));
}

TEST(BulkRange, MayHoldTasksThatDoNotFitASlot) {
  struct large : append {
    std::array<char, 200> ballast{};
  };
  std::vector<int> ran;
  std::vector<large> tasks;
  for (int i = 0; i < 20; ++i) tasks.push_back({{&ran, i}});
  EXPECT_EQ(order_of(ran, tasks, 20), first(20));
}

struct move_only {
  std::unique_ptr<int> number;
  std::vector<int>* to;
  void operator()() const { to->push_back(*number); }
};

std::vector<move_only> move_only_numbers(std::vector<int>& to, int count) {
  std::vector<move_only> tasks;
  for (int i = 0; i < count; ++i) tasks.push_back({std::make_unique<int>(i), &to});
  return tasks;
}

std::size_t untouched(const std::vector<move_only>& tasks, std::size_t from) {
  std::size_t count = 0;
  for (std::size_t i = from; i < tasks.size(); ++i) count += tasks[i].number ? 1u : 0u;
  return count;
}

TEST(BulkRange, MovesFromWhatItAcceptsAndNothingElse) {
  std::vector<int> ran;
  pool p{{.buffer = 3}};
  const auto try_moving = [&](auto submit) {
    auto tasks = move_only_numbers(ran, 8);
    bulk_result result;
    {
      support::occupied busy(p);
      result = submit(tasks);
    }
    EXPECT_FALSE(p.wait_idle());
    EXPECT_EQ(result.accepted, 3u);
    EXPECT_EQ(result.error, ErrFull);
    EXPECT_EQ(untouched(tasks, 3), 5u);
    EXPECT_EQ(untouched(tasks, 0), 5u);
    EXPECT_EQ(std::exchange(ran, {}), first(3));
  };
  try_moving([&](std::vector<move_only>& tasks) {
    return p.try_do_bulk(
        support::range{std::move_iterator(tasks.begin()), std::move_iterator(tasks.end())});
  });
  try_moving([&](std::vector<move_only>& tasks) {
    return p.try_do_bulk(support::forward_rvalues(tasks.data(), tasks.size()));
  });
  try_moving([&](std::vector<move_only>& tasks) {
    return p.try_do_bulk(support::input<move_only&&>(tasks.data(), tasks.size()));
  });
}

// The elements of an rvalue container are lvalues, and elements pass as the range says.
TEST(BulkRange, CopiesTheElementsOfAnRvalueContainer) {
  const auto number = std::make_shared<int>(7);
  std::vector tasks(3, [number] {});
  pool p{{.buffer = 8}};
  support::occupied busy(p);
  EXPECT_EQ(p.try_do_bulk(std::move(tasks)).accepted, 3u);
  EXPECT_EQ(number.use_count(), 7);
}

TEST(BulkRange, KeepsThePlaceOfSubmission) {
  std::vector<std::uint_least32_t> lines;
  pool p{{.on_error = [&](const fanout::error_info& info) { lines.push_back(info.where.line()); }}};
  const std::vector fail(2, [] { throw 1; });
  const std::forward_list fail_singly(fail.begin(), fail.end());
  const auto here = fanout::source_location::current();
  EXPECT_FALSE(p.try_do_bulk(fail).error);
  EXPECT_FALSE(p.try_do_bulk(fail_singly).error);
  EXPECT_FALSE(p.try_do_bulk(fail, here).error);
  p.close();
  const auto n = here.line();
  EXPECT_EQ(lines, (std::vector{n + 1, n + 1, n + 2, n + 2, n, n}));
}

// --- Throwing

struct copy_throws {
  std::vector<int>* to;
  int number;
  int fails_at;
  copy_throws(std::vector<int>* t, int n, int at) : to(t), number(n), fails_at(at) {}
  copy_throws(copy_throws&&) = default;
  copy_throws(const copy_throws& other)
      : to(other.to), number(other.number), fails_at(other.fails_at) {
    if (number == fails_at) throw std::runtime_error("copy");
  }
  void operator()() const { to->push_back(number); }
};

TEST(BulkThrow, OfACopyKeepsWhatWasAccepted) {
  for (const int fails_at : {0, 3, 7}) {
    std::vector<int> ran;
    std::vector<copy_throws> tasks;
    tasks.reserve(8);
    for (int i = 0; i < 8; ++i) tasks.emplace_back(&ran, i, fails_at);
    pool p;
    EXPECT_THROW(static_cast<void>(p.try_do_bulk(tasks)), std::runtime_error);
    EXPECT_EQ(p.stats().accepted, static_cast<std::uint64_t>(fails_at));
    EXPECT_FALSE(p.try_do([&] { ran.push_back(100); }));
    p.close();
    auto expected = first(fails_at);
    expected.push_back(100);
    EXPECT_EQ(ran, expected);
  }
}

/// Throws on its way from element 2 to 3, or as it reads element 3.
struct failing_iterator : made_to_order {
  bool reads_fail = false;
  append operator*() const {
    if (number == 3 && reads_fail) throw std::runtime_error("read");
    return {to, number};
  }
  failing_iterator& operator++() {
    if (number == 2 && !reads_fail) throw std::runtime_error("step");
    return ++number, *this;
  }
  failing_iterator operator++(int) {
    auto old = *this;
    ++*this;
    return old;
  }
  bool operator==(const failing_iterator&) const = default;
};

TEST(BulkThrow, OfTheRangeLeavesThePoolWhole) {
  for (const bool reads_fail : {false, true}) {
    std::vector<int> ran;
    const support::range<failing_iterator> range{{{&ran, 0}, reads_fail}, {{&ran, 9}, reads_fail}};
    pool p;
    EXPECT_THROW(static_cast<void>(p.try_do_bulk(range)), std::runtime_error);
    const auto accepted = static_cast<int>(p.stats().accepted);
    EXPECT_LE(accepted, 3);
    EXPECT_FALSE(p.try_do([&] { ran.push_back(100); }));
    p.close();
    auto expected = first(accepted);
    expected.push_back(100);
    EXPECT_EQ(ran, expected);
  }
}

/// Its k-th copy throws.
struct copied_iterator : made_to_order {
  int* copies_left = nullptr;
  copied_iterator() = default;
  copied_iterator(made_to_order base, int* copies) noexcept
      : made_to_order(base), copies_left(copies) {}
  copied_iterator(const copied_iterator& other)
      : made_to_order(other), copies_left(other.copies_left) {
    if (copies_left != nullptr && (*copies_left)-- == 0) throw std::runtime_error("a copy");
  }
  copied_iterator& operator=(const copied_iterator&) = default;
  copied_iterator& operator++() noexcept { return ++number, *this; }
  copied_iterator operator++(int) {
    copied_iterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const copied_iterator& other) const noexcept { return number == other.number; }
};
struct copied_range {
  copied_iterator first, last;
  const copied_iterator& begin() const noexcept { return first; }
  const copied_iterator& end() const noexcept { return last; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(last.number - first.number); }
};

TEST(BulkThrow, OfACopiedIteratorLeavesThePoolWhole) {
  std::vector<int> ran;
  bool threw = true;
  int copies = 0;
  for (; threw; ++copies) {
    ran.clear();
    int left = -1;
    const copied_range range{{{&ran, 0}, &left}, {{&ran, 3}, &left}};
    left = copies;
    pool p;
    threw = false;
    try {
      EXPECT_EQ(p.try_do_bulk(range).accepted, 3u);
    } catch (const std::runtime_error&) {
      threw = true;
    }
    p.close();
    EXPECT_EQ(ran, threw ? std::vector<int>() : first(3));
  }
  EXPECT_GT(copies, 1);
}

// --- What it costs, counted by the platform under the pool

TEST(BulkCost, IsOneClaim) {
  std::vector<int> ran;
  const auto tasks = numbers(ran, 64);
  support::watched_pool p{{.buffer = 64}};
  {
    support::occupied busy(p);
    watched_sync::reset();
    EXPECT_EQ(p.try_do_bulk(tasks).accepted, 64u);
    EXPECT_EQ(watched_sync::own_claims, 1u);
    EXPECT_EQ(p.try_do_bulk(tasks).accepted, 0u);
    EXPECT_EQ(watched_sync::own_claims, 1u);
  }
  ASSERT_FALSE(p.wait_idle());
  support::occupied busy(p);
  for (int i = 0; i < 20; ++i) ASSERT_FALSE(p.try_do([] {}));
  watched_sync::reset();
  EXPECT_EQ(p.try_do_bulk(tasks).accepted, 44u);  // a prefix, and across the end of the buffer
  EXPECT_EQ(watched_sync::own_claims, 1u);
}

TEST(BulkCost, IsOneClaimForEveryRangeThatTellsItsSize) {
  std::vector<int> ran;
  auto tasks = numbers(ran, 10);
  support::watched_pool p;
  support::occupied busy(p);
  watched_sync::reset();
  EXPECT_EQ(p.try_do_bulk(support::forward_rvalues(tasks.data(), 10)).accepted, 10u);
  EXPECT_EQ(watched_sync::own_claims, 1u);
  EXPECT_EQ(p.try_do_bulk(std::span(tasks)).accepted, 10u);
  EXPECT_EQ(watched_sync::own_claims, 2u);
  EXPECT_EQ(p.try_do_bulk(support::range<made_to_order>{{&ran, 0}, {&ran, 10}}).accepted, 10u);
  EXPECT_EQ(watched_sync::own_claims, 3u);
}

TEST(BulkCost, IsAClaimAnElementWhereCopiesMayThrow) {
  std::vector<int> ran;
  std::vector<copy_throws> tasks;
  tasks.reserve(10);
  for (int i = 0; i < 10; ++i) tasks.emplace_back(&ran, i, -1);
  support::watched_pool p;
  support::occupied busy(p);
  watched_sync::reset();
  EXPECT_EQ(p.try_do_bulk(tasks).accepted, 10u);
  EXPECT_EQ(watched_sync::own_claims, 10u);
}

TEST(BulkCost, IsOneWakeOfAParkedPool) {
  std::vector<std::atomic<int>> runs(64);
  std::vector<std::function<void()>> functions;
  for (std::size_t i = 0; i < 64; ++i) functions.emplace_back([&runs, i] { ++runs[i]; });
  std::vector<std::reference_wrapper<std::function<void()>>> tasks(functions.begin(),
                                                                   functions.end());
  for (int round = 0; round < 20; ++round) {
    watched_sync::reset();
    support::watched_pool p{{.workers = 4}};
    support::wait_until([] { return watched_sync::parks >= 4; });
    EXPECT_EQ(p.try_do_bulk(tasks).accepted, 64u);
    EXPECT_EQ(watched_sync::own_unparks, 1u);
    p.close();
  }
  for (auto& run : runs) EXPECT_EQ(run, 20);
}

/// Takes its time between elements, enough for a woken worker to run what is there and park.
struct slow_iterator : made_to_order {
  slow_iterator& operator++() noexcept {
    for (int i = 0; i < 100; ++i) std::this_thread::yield();
    return ++number, *this;
  }
  slow_iterator operator++(int) noexcept {
    const slow_iterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const slow_iterator&) const = default;
};

TEST(BulkCost, IsOneWakeHoweverLongTheFillingTakes) {
  std::vector<int> ran;
  for (int round = 0; round < 10; ++round) {
    watched_sync::reset();
    support::watched_pool p;
    support::wait_until([] { return watched_sync::parks >= 1; });
    const support::range<slow_iterator> range{{{&ran, 0}}, {{&ran, 16}}};
    EXPECT_EQ(p.try_do_bulk(range).accepted, 16u);
    EXPECT_EQ(watched_sync::own_unparks, 1u);
    p.close();
    EXPECT_EQ(std::exchange(ran, {}), first(16));
  }
}

TEST(BulkCost, IsNoWakeWhereNobodySleeps) {
  std::vector<int> ran;
  support::watched_pool p;
  support::occupied busy(p);
  watched_sync::reset();
  EXPECT_EQ(p.try_do_bulk(numbers(ran, 64)).accepted, 64u);
  EXPECT_EQ(watched_sync::own_unparks, 0u);
  busy.release();
  p.close();
}

}  // namespace
