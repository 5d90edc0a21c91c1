// What may be submitted, and how it is called: once, as an rvalue, as std::jthread would call it.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::pool;

/// Submits `f`, waits until it has run, and tells whether it was accepted.
template <class F> bool runs(F&& f) {
  pool p;
  const auto err = p.try_do(std::forward<F>(f));
  p.close();
  return !err && p.stats().completed == 1;
}

template <class F> std::error_code refusal_of(F&& f) {
  pool p;
  const auto err = p.try_do(std::forward<F>(f));
  p.close();
  return p.stats().accepted == 0 ? err : std::error_code();
}

// --- With a stop token or without

TEST(Callable, GetsThePoolsTokenIfItTakesOne) {
  std::stop_token seen;
  pool p;
  ASSERT_FALSE(p.try_do([&](std::stop_token token) { seen = std::move(token); }));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(seen, p.get_stop_token());
  EXPECT_FALSE(seen.stop_requested());
  p.request_stop();
  EXPECT_TRUE(seen.stop_requested());
}

TEST(Callable, MayTakeTheTokenInEachWay) {
  EXPECT_TRUE(runs([](std::stop_token) {}));
  EXPECT_TRUE(runs([](const std::stop_token&) {}));
  EXPECT_TRUE(runs([](std::stop_token&&) {}));
  EXPECT_TRUE(runs([](auto) {}));
}

TEST(Callable, IsCalledWithATokenIfItCanBeCalledBothWays) {
  std::atomic<int> arguments{-1};
  EXPECT_TRUE(runs([&](auto&&... all) { arguments = static_cast<int>(sizeof...(all)); }));
  EXPECT_EQ(arguments, 1);
}

TEST(Callable, BoxedGetsTheTokenToo) {
  std::stop_token seen;
  pool p;
  ASSERT_FALSE(p.try_do([&seen, ballast = std::array<char, 200>()](std::stop_token token) {
    static_cast<void>(ballast);
    seen = std::move(token);
  }));
  p.close();
  EXPECT_EQ(seen, p.get_stop_token());
}

TEST(Callable, RunningTaskSeesRequestStop) {
  pool p;
  support::gate started;
  ASSERT_FALSE(p.try_do([&](const std::stop_token& stop) {
    started.open();
    while (!stop.stop_requested()) std::this_thread::yield();
  }));
  started.wait();
  p.request_stop();
  EXPECT_FALSE(p.close());
}

// --- Kinds of callables

std::atomic<int> calls_of_function{0};
void function() { ++calls_of_function; }
void function_without_throw() noexcept { ++calls_of_function; }
void function_with_token(std::stop_token) { ++calls_of_function; }

TEST(Callable, MayBeAFunctionOrAPointerToOne) {
  calls_of_function = 0;
  EXPECT_TRUE(runs(function));
  EXPECT_TRUE(runs(&function));
  EXPECT_TRUE(runs(function_without_throw));
  EXPECT_TRUE(runs(&function_with_token));
  void (*const pointer)() = &function;
  EXPECT_TRUE(runs(pointer));
  EXPECT_EQ(calls_of_function, 5);
}

TEST(Callable, MayBeACapturelessLambda) {
  EXPECT_TRUE(runs([] {}));
  const auto named = [] {};
  EXPECT_TRUE(runs(named));
}

struct counter {
  std::atomic<int> count{0};
  void add() { ++count; }
};

TEST(Callable, MayBeABoundMemberFunction) {
  counter c;
  EXPECT_TRUE(runs(std::bind_front(&counter::add, &c)));
  EXPECT_TRUE(runs(std::bind(&counter::add, &c)));
  EXPECT_EQ(c.count, 2);
}

TEST(Callable, MayBeAMemberFunctionOfTheToken) {
  EXPECT_TRUE(runs(&std::stop_token::stop_requested));
}

TEST(Callable, MayBeAReferenceWrapper) {
  int count = 0;
  auto f = [&count, own = 0]() mutable { count = ++own; };
  EXPECT_TRUE(runs(std::ref(f)));
  EXPECT_TRUE(runs(std::ref(f)));
  EXPECT_EQ(count, 2);
  calls_of_function = 0;
  EXPECT_TRUE(runs(std::ref(function)));
  EXPECT_EQ(calls_of_function, 1);
}

TEST(Callable, MayBeAStdFunction) {
  std::atomic<int> count{0};
  const std::function<void()> f = [&] { ++count; };
  EXPECT_TRUE(runs(f));
  EXPECT_TRUE(runs(std::function<void()>(f)));
  EXPECT_EQ(count, 2);
}

TEST(Callable, MayBeAPackagedTask) {
  std::packaged_task<int()> job([] { return 42; });
  auto result = job.get_future();
  EXPECT_TRUE(runs(std::move(job)));
  EXPECT_EQ(result.get(), 42);
}

TEST(Callable, MayBeMoveOnly) {
  int seen = 0;
  EXPECT_TRUE(runs([&seen, number = std::make_unique<int>(42)] { seen = *number; }));
  EXPECT_EQ(seen, 42);
}

TEST(Callable, MayBeLarge) {
  std::array<std::uint32_t, 4096> numbers;
  for (std::uint32_t i = 0; i < numbers.size(); ++i) numbers[i] = i * i;
  bool equal = false;
  EXPECT_TRUE(runs([&, copy = numbers] { equal = copy == numbers; }));
  EXPECT_TRUE(equal);
}

TEST(Callable, MayBeLargeAndMoveOnly) {
  int seen = 0;
  EXPECT_TRUE(runs([&seen, ballast = std::array<char, 500>(), number = std::make_unique<int>(42)] {
    static_cast<void>(ballast);
    seen = *number;
  }));
  EXPECT_EQ(seen, 42);
}

template <std::size_t Alignment> struct alignas(Alignment) aligned {
  std::uintptr_t* at;
  void operator()() { *at = reinterpret_cast<std::uintptr_t>(this); }
};

TEST(Callable, RunsAtItsAlignment) {
  std::uintptr_t at = 1;
  EXPECT_TRUE(runs(aligned<alignof(std::max_align_t)>{&at}));
  EXPECT_EQ(at % alignof(std::max_align_t), 0u);
  EXPECT_TRUE(runs(aligned<64>{&at}));
  EXPECT_EQ(at % 64, 0u);
  EXPECT_TRUE(runs(aligned<4096>{&at}));
  EXPECT_EQ(at % 4096, 0u);
}

struct copies_only {
  std::string text;
  std::string* seen;
  copies_only(std::string t, std::string* s) : text(std::move(t)), seen(s) {}
  copies_only(const copies_only&) = default;
  void operator()() { *seen = text; }
};

TEST(Callable, MayCopyWithoutMoving) {
  std::string seen;
  const std::string text(100, 'x');
  EXPECT_TRUE(runs(copies_only(text, &seen)));
  EXPECT_EQ(seen, text);
}

struct moves_and_may_throw {
  std::unique_ptr<int> number;
  int* seen;
  moves_and_may_throw(int n, int* s) : number(std::make_unique<int>(n)), seen(s) {}
  moves_and_may_throw(const moves_and_may_throw& other)
      : number(std::make_unique<int>(*other.number)), seen(other.seen) {}
  moves_and_may_throw(moves_and_may_throw&&) noexcept(false) { throw std::runtime_error("moved"); }
  void operator()() { *seen = *number; }
};

TEST(Callable, IsCopiedWhereItsMoveMayThrow) {
  int seen = 0;
  EXPECT_TRUE(runs(moves_and_may_throw(42, &seen)));
  EXPECT_EQ(seen, 42);
}

/// Takes away what a careless implementation would use.
struct with_own_operators {
  std::atomic<int>* count;
  void operator()() const { ++*count; }
  void operator&() const = delete;
  template <class T> void operator,(T&&) const = delete;
  static void* operator new(std::size_t) = delete;
  static void* operator new(std::size_t, void*) = delete;
  static void operator delete(void*) = delete;
};
struct large_with_own_operators : with_own_operators {
  std::array<char, 200> ballast{};
};

TEST(Callable, MayHaveOperatorsOfItsOwn) {
  std::atomic<int> count{0};
  EXPECT_TRUE(runs(with_own_operators{&count}));
  EXPECT_TRUE(runs(large_with_own_operators{{&count}}));
  EXPECT_EQ(count, 2);
}

// --- Empty tasks

struct nullable {
  bool null;
  void operator()() const {}
  bool operator==(std::nullptr_t) const { return null; }
};

TEST(EmptyTask, IsEachNullPointer) {
  EXPECT_EQ(refusal_of(static_cast<void (*)()>(nullptr)), errc::empty_task);
  EXPECT_EQ(refusal_of(static_cast<void (*)(std::stop_token)>(nullptr)), errc::empty_task);
  EXPECT_EQ(refusal_of(static_cast<void (*)() noexcept>(nullptr)), errc::empty_task);
  bool (std::stop_token::*const member)() const noexcept = nullptr;
  EXPECT_EQ(refusal_of(member), errc::empty_task);
}

TEST(EmptyTask, IsAnEmptyStdFunction) {
  EXPECT_EQ(refusal_of(std::function<void()>()), errc::empty_task);
  EXPECT_EQ(refusal_of(std::function<int(std::stop_token)>()), errc::empty_task);
  const std::function<void()> lvalue;
  EXPECT_EQ(refusal_of(lvalue), errc::empty_task);
  EXPECT_EQ(refusal_of(lvalue), std::errc::invalid_argument);
}

TEST(EmptyTask, IsAClassThatComparesEqualToNullptr) {
  EXPECT_EQ(refusal_of(nullable{true}), errc::empty_task);
  EXPECT_TRUE(runs(nullable{false}));
}

/// Converts to a function pointer, as a captureless lambda does; comparing it would convert.
struct lambda_like {
  using pointer = void (*)();
  void operator()() const {}
  operator pointer() const {
    ++conversions;
    return nullptr;
  }
  inline static int conversions = 0;
};

TEST(EmptyTask, IsNeverAskedOfALambda) {
  EXPECT_TRUE(runs(lambda_like()));
  EXPECT_EQ(lambda_like::conversions, 0);
}

// --- The call

TEST(Call, IgnoresTheReturnValue) {
  struct [[nodiscard]] result {
    std::unique_ptr<int> number;
  };
  EXPECT_TRUE(runs([] { return 42; }));
  EXPECT_TRUE(runs([] { return result{std::make_unique<int>(1)}; }));
  EXPECT_TRUE(runs([](std::stop_token) { return result{std::make_unique<int>(1)}; }));
  EXPECT_TRUE(runs([ballast = std::array<char, 200>()]() -> result {
    return {std::make_unique<int>(ballast[0])};
  }));
}

TEST(Call, MayChangeTheTask) {
  int seen = 0;
  EXPECT_TRUE(runs([&seen, own = 41]() mutable { seen = ++own; }));
  EXPECT_EQ(seen, 42);
}

template <std::size_t Ballast> struct says_how {
  std::string* how;
  std::array<char, Ballast> ballast{};
  void operator()() & { *how = "lvalue"; }
  void operator()() const& { *how = "const lvalue"; }
  void operator()() && { *how = "rvalue"; }
  void operator()() const&& { *how = "const rvalue"; }
};

TEST(Call, IsMadeOnAnRvalue) {
  std::string how;
  EXPECT_TRUE(runs(says_how<1>{&how}));
  EXPECT_EQ(how, "rvalue");
  EXPECT_TRUE(runs(says_how<200>{&how}));
  EXPECT_EQ(how, "rvalue");
  const says_how<1> lvalue{&how};
  EXPECT_TRUE(runs(lvalue));
  EXPECT_EQ(how, "rvalue");
}

TEST(Call, MayNeedAnRvalue) {
  struct once {
    std::unique_ptr<int> number;
    int* seen;
    void operator()(std::stop_token) && { *seen = *std::unique_ptr<int>(std::move(number)); }
  };
  int seen = 0;
  EXPECT_TRUE(runs(once{std::make_unique<int>(42), &seen}));
  EXPECT_EQ(seen, 42);
}

TEST(Call, LeavesASubmittedLvalueAlone) {
  int seen = 0;
  auto f = [&seen, own = std::string("a string too long for its own storage")]() mutable {
    seen = static_cast<int>(own.size());
    own.clear();
  };
  EXPECT_TRUE(runs(f));
  seen = 0;
  EXPECT_TRUE(runs(f));
  EXPECT_NE(seen, 0);
}

// --- Once each

struct census {
  std::atomic<int> built{0}, destroyed{0}, calls{0};
  int alive() const { return built - destroyed; }
};

template <std::size_t Ballast, bool NothrowMove, std::size_t Alignment = 1>
struct alignas(Alignment < alignof(void*) ? alignof(void*) : Alignment) counted {
  census* all;
  bool fails = false;
  std::array<char, Ballast> ballast{};

  explicit counted(census& c, bool throws = false) : all(&c), fails(throws) { ++all->built; }
  counted(const counted& other) : all(other.all), fails(other.fails) { ++all->built; }
  counted(counted&& other) noexcept(NothrowMove) : all(other.all), fails(other.fails) {
    ++all->built;
  }
  ~counted() { ++all->destroyed; }
  void operator()() {
    ++all->calls;
    if (fails) throw std::runtime_error("fails");
  }
};

template <class Task> class Once : public testing::Test {};
using tasks =
    testing::Types<counted<1, true>, counted<200, true>, counted<1, false>, counted<1, true, 64>>;
TYPED_TEST_SUITE(Once, tasks, );

TYPED_TEST(Once, RunsAndIsDestroyedBeforeWaitIdleReturns) {
  census all;
  pool p;
  ASSERT_FALSE(p.try_do(TypeParam(all)));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(all.alive(), 0);
  EXPECT_EQ(all.calls, 1);
  const TypeParam lvalue(all);
  ASSERT_FALSE(p.try_do(lvalue));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(all.alive(), 1);
  EXPECT_EQ(all.calls, 2);
}

TYPED_TEST(Once, IsDestroyedThoughItFails) {
  census all;
  pool p{{.on_error = [](const fanout::error_info&) {}}};
  ASSERT_FALSE(p.try_do(TypeParam(all, true)));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(all.calls, 1);
  EXPECT_EQ(all.alive(), 0);
}

TYPED_TEST(Once, LeavesNoCopyBehindARefusal) {
  census all;
  pool p;
  p.close();
  ASSERT_TRUE(p.try_do(TypeParam(all)));
  EXPECT_EQ(all.alive(), 0);
  EXPECT_EQ(all.calls, 0);
}

// A task that is still in the buffer is one object, and waits for its turn in peace.
TYPED_TEST(Once, IsOneObjectWhileItWaits) {
  census all;
  pool p{{.buffer = 4}};
  {
    support::occupied busy(p);
    for (int i = 0; i < 4; ++i) ASSERT_FALSE(p.try_do(TypeParam(all)));
    EXPECT_EQ(all.alive(), 4);
    EXPECT_EQ(all.calls, 0);
  }
  p.close();
  EXPECT_EQ(all.alive(), 0);
  EXPECT_EQ(all.calls, 4);
}

}  // namespace
