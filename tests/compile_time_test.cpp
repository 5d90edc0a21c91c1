// What the compiler can check of the contract. What it must refuse is in compile_fail/.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <fanout/fanout.hpp>

namespace {

using fanout::errc;
using fanout::pool;
using fanout::source_location;

// --- Errors

static_assert(std::is_error_code_enum_v<errc>);
static_assert(!std::is_error_condition_enum_v<errc>);
static_assert(std::is_convertible_v<errc, std::error_code>);
static_assert(static_cast<int>(errc::full) == 1);
static_assert(fanout::ErrFull == errc::full && fanout::ErrClosed == errc::closed);
static_assert(std::is_same_v<decltype(fanout::ErrFull), const errc>);
static_assert(std::is_same_v<decltype(fanout::category()), const std::error_category&>);
static_assert(noexcept(fanout::category()));
static_assert(noexcept(make_error_code(errc::full)));

constexpr std::array all{errc::full,     errc::closed,         errc::timed_out,
                         errc::canceled, errc::would_deadlock, errc::empty_task};

TEST(Category, IsNamedFanout) { EXPECT_STREQ(fanout::category().name(), "fanout"); }

TEST(Category, IsOne) {
  EXPECT_EQ(&fanout::category(), &fanout::category());
  for (const errc e : all) {
    EXPECT_EQ(&make_error_code(e).category(), &fanout::category());
    EXPECT_EQ(make_error_code(e).value(), static_cast<int>(e));
  }
}

TEST(Errc, EachMapsToACondition) {
  using std::make_error_code;
  EXPECT_EQ(make_error_code(errc::full), std::errc::resource_unavailable_try_again);
  EXPECT_EQ(make_error_code(errc::closed), std::errc::operation_not_permitted);
  EXPECT_EQ(make_error_code(errc::timed_out), std::errc::timed_out);
  EXPECT_EQ(make_error_code(errc::canceled), std::errc::operation_canceled);
  EXPECT_EQ(make_error_code(errc::would_deadlock), std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(make_error_code(errc::empty_task), std::errc::invalid_argument);
}

TEST(Category, KnowsNoOtherNumbers) {
  for (const int value : {-1, 0, 7, 1000}) {
    EXPECT_EQ(fanout::category().message(value), "not a fanout error");
    EXPECT_EQ(fanout::category().default_error_condition(value),
              std::error_condition(value, fanout::category()));
  }
}

TEST(Errc, EachEqualsItselfOnly) {
  for (const errc a : all) {
    EXPECT_TRUE(std::error_code(a));
    for (const errc b : all) EXPECT_EQ(std::error_code(a) == b, a == b);
  }
}

TEST(Errc, EachHasItsMessage) {
  std::set<std::string> messages;
  for (const errc e : all) {
    EXPECT_NE(std::error_code(e).message(), "");
    messages.insert(std::error_code(e).message());
  }
  EXPECT_EQ(messages.size(), all.size());
}

// --- Options, defaulted without a warning under -Wextra

static_assert(std::is_aggregate_v<fanout::options>);

TEST(Options, AreDefaulted) {
  const fanout::options none;
  EXPECT_EQ(none.name, "anonymous");
  EXPECT_EQ(none.workers, 1u);
  EXPECT_EQ(none.buffer, 1024u);
  EXPECT_FALSE(none.on_error);
  EXPECT_FALSE(none.on_worker_start);
  EXPECT_FALSE(none.on_worker_stop);
}

TEST(Options, AreNamedByDesignatedInitialisers) {
  const pool p{{.name = "cache", .workers = 2, .buffer = 3}};
  EXPECT_EQ(p.name(), "cache");
  EXPECT_EQ(p.workers(), 2u);
  EXPECT_EQ(p.capacity(), 3u);
  const pool q{{.buffer = 3}};
  EXPECT_EQ(q.name(), "anonymous");
  const pool r;
  EXPECT_EQ(r.capacity(), 1024u);
}

// --- The pool

static_assert(std::is_same_v<pool, fanout::basic_pool<fanout::default_policy>>);
static_assert(std::is_default_constructible_v<pool>);
static_assert(std::is_constructible_v<pool, fanout::options>);
static_assert(!std::is_convertible_v<fanout::options, pool>);
static_assert(!std::is_copy_constructible_v<pool> && !std::is_move_constructible_v<pool>);
static_assert(!std::is_copy_assignable_v<pool> && !std::is_move_assignable_v<pool>);

using observed = const pool&;
static_assert(noexcept(std::declval<observed>().name()));
static_assert(noexcept(std::declval<observed>().workers()));
static_assert(noexcept(std::declval<observed>().capacity()));
static_assert(noexcept(std::declval<observed>().size()));
static_assert(noexcept(std::declval<observed>().is_closed()));
static_assert(noexcept(std::declval<observed>().get_stop_token()));
static_assert(noexcept(std::declval<observed>().stats()));

// --- What may be submitted, to which function: answered, not a hard error

template <class F>
concept by_try_do = requires(pool& p, F&& f, source_location where) {
  { p.try_do(std::forward<F>(f)) } -> std::same_as<std::error_code>;
  { p.try_do(std::forward<F>(f), where) } -> std::same_as<std::error_code>;
};
template <class F>
concept by_do_wait = requires(pool& p, F&& f, std::stop_token stop, source_location where) {
  { p.do_wait(std::forward<F>(f)) } -> std::same_as<std::error_code>;
  { p.do_wait(std::forward<F>(f), where) } -> std::same_as<std::error_code>;
  { p.do_wait(std::forward<F>(f), stop) } -> std::same_as<std::error_code>;
  { p.do_wait(std::forward<F>(f), stop, where) } -> std::same_as<std::error_code>;
};
template <class F>
concept by_try_do_for =
    requires(pool& p, F&& f, std::chrono::duration<float> time, source_location where) {
      { p.try_do_for(time, std::forward<F>(f)) } -> std::same_as<std::error_code>;
      { p.try_do_for(time, std::forward<F>(f), where) } -> std::same_as<std::error_code>;
    };
template <class F>
concept by_try_do_until =
    requires(pool& p, F&& f, std::chrono::system_clock::time_point time, source_location where) {
      { p.try_do_until(time, std::forward<F>(f)) } -> std::same_as<std::error_code>;
      { p.try_do_until(time, std::forward<F>(f), where) } -> std::same_as<std::error_code>;
    };
template <class Range>
concept by_bulk = requires(pool& p, Range&& range, source_location where) {
  { p.try_do_bulk(std::forward<Range>(range)) } -> std::same_as<fanout::bulk_result>;
  { p.try_do_bulk(std::forward<Range>(range), where) } -> std::same_as<fanout::bulk_result>;
};
template <class F>
concept submittable = by_try_do<F> && by_do_wait<F> && by_try_do_for<F> && by_try_do_until<F> &&
                      by_bulk<std::vector<std::decay_t<F>>>;
template <class F>
concept refused_at_each = !by_try_do<F> && !by_do_wait<F> && !by_try_do_for<F> &&
                          !by_try_do_until<F> && !by_bulk<std::vector<std::decay_t<F>>>;

using function = void();
using function_pointer = void (*)();
using function_with_token = int(std::stop_token);
struct move_only {
  std::unique_ptr<int> held;
  void operator()() const {}
};
struct rvalue_only {
  void operator()() && {}
};
struct lvalue_only {
  void operator()() & {}
};
struct takes_int {
  void operator()(int) const {}
};
struct takes_token_and_int {
  void operator()(std::stop_token, int) const {}
};

static_assert(submittable<function_pointer>);
static_assert(submittable<function_pointer&> && submittable<const function_pointer&>);
static_assert(by_try_do<function&> && by_do_wait<function&> && by_try_do_for<function&>);
static_assert(by_try_do<function_with_token&> && by_try_do_until<function_with_token&>);
static_assert(submittable<std::function<void()>> && submittable<const std::function<void()>&>);
static_assert(submittable<decltype(&std::stop_token::stop_requested)>);
static_assert(submittable<rvalue_only> && submittable<rvalue_only&>);
static_assert(by_try_do<move_only> && by_do_wait<move_only> && by_try_do_for<move_only>);

static_assert(refused_at_each<int> && refused_at_each<std::nullptr_t> && refused_at_each<int*>);
static_assert(refused_at_each<std::string> && refused_at_each<std::stop_token>);
static_assert(refused_at_each<takes_int> && refused_at_each<takes_token_and_int>);
static_assert(refused_at_each<lvalue_only> && refused_at_each<lvalue_only&>);  // called as rvalue
static_assert(refused_at_each<decltype(&std::string::size)>);
static_assert(!by_bulk<int> && !by_bulk<move_only> && !by_bulk<std::vector<int>>);

static_assert(std::is_same_v<decltype(fanout::bulk_result::accepted), std::size_t>);
static_assert(std::is_same_v<decltype(fanout::bulk_result::error), std::error_code>);
static_assert(std::is_same_v<decltype(fanout::error_info::error), std::exception_ptr>);
static_assert(std::is_same_v<decltype(fanout::error_info::pool), std::string_view>);
static_assert(std::is_same_v<decltype(fanout::error_info::worker), std::size_t>);
static_assert(std::is_same_v<decltype(fanout::error_info::where), source_location>);

TEST(BulkResult, IsNothingAndNoErrorAtFirst) {
  const fanout::bulk_result result;
  EXPECT_EQ(result.accepted, 0u);
  EXPECT_FALSE(result.error);
}

// --- Where nodiscard does not apply

TEST(Nodiscard, SparesCloseAndTheUntimedWaitIdle) {
  pool p;
  p.wait_idle();
  p.request_stop();
  p.close();
}

}  // namespace
