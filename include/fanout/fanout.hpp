// fanout: a bounded task pool for side work beside a request path. C++20, one header.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors.

// A fixed number of workers run tasks from a fixed buffer:
//
//   fanout::pool cache{{.name = "cache", .workers = 2, .buffer = 1024}};
//   if (auto err = cache.try_do([=] { store.put(key, value); })) { /* err == fanout::ErrFull */ }
//   cache.close();
//
// Guarantees
//   - try_do never blocks: it takes the task or refuses it, and a refused callable is untouched.
//   - An accepted task runs exactly once; tasks start in the order of acceptance.
//   - A buffer of n holds exactly n waiting tasks, for every n >= 1. Nothing grows.
//   - A task that fits its slot is accepted or refused without an allocation.
//   - A task's exception stops at its worker and reaches on_error with the pool, the worker and the
//     place of submission.
//   - close() accepts no more, runs all that was accepted, and returns when the last worker ended.
//
// Beside try_do: do_wait, deadlines, bulk; do_evict, which drops the oldest; submit() for a future,
// also with backpressure; co_await schedule(); groups, which wait for a set of tasks and stop it at
// the first failure; a context that follows a task; purge(), and closing by a deadline or a token:
// what they drop is counted, and told if it is discardable.
//
// Ordering. A submission happens before its task's run. The run and the destruction of a task, its
// context scope and its error handler happen before the return of the close, wait_idle, wait or
// get that waited for it. on_worker_start happens before that worker's tasks.
//
// Preconditions. Every call into a pool has returned before its destructor begins, even if the
// task has run. Constructing a callable calls no blocking member of the pool. No task leaves by
// pthread_exit, pthread_cancel or longjmp. Nothing here is async-signal-safe. A pool is closed
// before a shared object whose code it runs is unloaded.
//
// After fork only the parent has workers. In the child, to a pool made before, submissions, closing
// and wait_idle answer closed, a group made before answers canceled, and destruction returns at
// once: what waited is the parent's. A task that forks leaves the child by exec, _exit or exit.
//
// Not for work that must outlive the process, priorities, timers or unbounded queues.

#ifndef FANOUT_FANOUT_HPP
#define FANOUT_FANOUT_HPP

#define FANOUT_VERSION_MAJOR 0
#define FANOUT_VERSION_MINOR 2
#define FANOUT_VERSION_PATCH 0

#include <version>
// Rooms, top to bottom; each uses what stands above it.
//
//   Errors                why a call is refused, as a std::error_code
//   Vocabulary            options, error_info, stats and times
//   Policy                the constants and types of a pool
//   Edges and platform    the table of synchronisation edges, constants, futex and thread names
//   The ring              the bounded queue of slots
//   The idle protocol     who searches, naps and sleeps, and who is woken; the worker's loop
//   Waiting               deadlines; submitters that wait for room; threads that wait for idleness
//   Who waits for whom    whether a wait would wait for its own thread
//   The task              a slot, a submission into it, its execution, its reports
//   Counters and times    what a worker counts and shows
//   Help for groups       where workers find groups that have unstarted tasks
//   The pool              the class
//   The pool's bodies     making, submitting, running, closing, observing
//   Groups                tasks that are waited for together
//   Coroutines            co_await schedule()

#if !defined(__cpp_lib_jthread)
#error "fanout needs C++20 with std::jthread and <stop_token> (libc++: -fexperimental-library)"
#endif

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <coroutine>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#define FANOUT_POSIX
#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#endif

// What clang's -Weverything has against C++20 on principle: templates of the standard without their
// arguments, constinit, virtual functions in a header, and objects that are never destroyed.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc++20-compat"
#pragma clang diagnostic ignored "-Wctad-maybe-unsupported"
#pragma clang diagnostic ignored "-Wweak-vtables"
#pragma clang diagnostic ignored "-Wglobal-constructors"
#pragma clang diagnostic ignored "-Wexit-time-destructors"
#endif

// A macro of curses; the only one of the known that meets a name of this header.
#pragma push_macro("move")
#undef move

#if defined(__cpp_exceptions)
#define FANOUT_TRY try
#define FANOUT_CATCH_ALL catch (...)
#else
#define FANOUT_TRY if constexpr (true)
#define FANOUT_CATCH_ALL else
#endif

// What each shared object has a copy of. Its symbols are not shared, so that a plugin whose pools
// have ended can be unloaded.
#if defined(__GNUC__) && !defined(_WIN32)
#define FANOUT_OWN_COPY __attribute__((visibility("hidden")))
#else
#define FANOUT_OWN_COPY
#endif

// The inline namespace names the version, whether exceptions are on (e, n) and whose
// source_location is in use (s: std, b: builtins), so that units that differ do not mix.
#if defined(__cpp_exceptions) && defined(__cpp_lib_source_location)
#define FANOUT_ABI v0_2_0_es
#elif defined(__cpp_exceptions)
#define FANOUT_ABI v0_2_0_eb
#elif defined(__cpp_lib_source_location)
#define FANOUT_ABI v0_2_0_ns
#else
#define FANOUT_ABI v0_2_0_nb
#endif

namespace fanout {
inline namespace FANOUT_ABI {

// ---------------------------------------------------------------------------------------------
// Errors

/// Why a call was refused.
enum class errc {
  full = 1,        ///< the buffer holds its capacity; try again later
  closed,          ///< the pool takes no more work
  timed_out,       ///< the deadline came first
  canceled,        ///< the stop token fired first
  would_deadlock,  ///< called where waiting would wait for the caller itself
  empty_task       ///< a null pointer or an empty std::function
};

}  // namespace FANOUT_ABI
}  // namespace fanout

template <> struct std::is_error_code_enum<fanout::errc> : std::true_type {};

namespace fanout {
inline namespace FANOUT_ABI {

FANOUT_OWN_COPY inline constexpr errc ErrFull = errc::full, ErrClosed = errc::closed;

namespace detail {

/// Its value is never destroyed, so that pools at namespace scope may always use it.
template <class T> union immortal {
  T value;
  constexpr immortal() noexcept : value() {}
  ~immortal() {}
};

class error_category final : public std::error_category {
 public:
  constexpr error_category() noexcept = default;
  const char* name() const noexcept override { return "fanout"; }
  std::string message(int value) const override { return row_of(value).text; }
  std::error_condition default_error_condition(int value) const noexcept override {
    const row& known = row_of(value);
    return &known == rows ? std::error_condition(value, *this) : known.condition;
  }

 private:
  struct row {
    const char* text;
    std::errc condition;
  };
  FANOUT_OWN_COPY static constexpr row rows[] = {
      {"not a fanout error", {}},
      {"the buffer is full", std::errc::resource_unavailable_try_again},
      {"the pool is closed", std::errc::operation_not_permitted},
      {"the deadline came first", std::errc::timed_out},
      {"the wait was stopped", std::errc::operation_canceled},
      {"a worker cannot wait for its own pool", std::errc::resource_deadlock_would_occur},
      {"the task is empty", std::errc::invalid_argument}};
  static const row& row_of(int value) noexcept {
    return rows[value > 0 && value < static_cast<int>(std::size(rows)) ? value : 0];
  }
};

FANOUT_OWN_COPY inline constinit immortal<error_category> the_category{};

}  // namespace detail

/// The category of this library's error codes; its name is "fanout".
inline const std::error_category& category() noexcept { return detail::the_category.value; }

/// Makes an errc convert to a std::error_code. Each errc also equals a std::errc condition.
inline std::error_code make_error_code(errc e) noexcept {
  return {static_cast<int>(e), category()};
}

/// `err == fanout::ErrFull`, whichever shared object the code comes from: each may have a category
/// of its own, so the name tells. Two std::error_codes are compared by the category's address.
inline bool operator==(const std::error_code& code, errc e) noexcept {
  return code.value() == static_cast<int>(e) &&
         std::string_view(code.category().name()) == category().name();
}

// ---------------------------------------------------------------------------------------------
// Vocabulary

#if defined(__cpp_lib_source_location)
using source_location = std::source_location;
#else
/// Stands in for std::source_location where the library has none.
struct source_location {
  static constexpr source_location current(const char* file = __builtin_FILE(),
                                           const char* function = __builtin_FUNCTION(),
                                           std::uint_least32_t line = __builtin_LINE()) noexcept {
    source_location here;
    here.file_ = file;
    here.function_ = function;
    here.line_ = line;
    return here;
  }
  constexpr const char* file_name() const noexcept { return file_; }
  constexpr const char* function_name() const noexcept { return function_; }
  constexpr std::uint_least32_t line() const noexcept { return line_; }
  constexpr std::uint_least32_t column() const noexcept { return 0; }

 private:
  const char *file_ = "", *function_ = "";
  std::uint_least32_t line_ = 0;
};
#endif

/// Stands for a worker where none of the pool's ran the task.
FANOUT_OWN_COPY inline constexpr std::size_t no_worker = static_cast<std::size_t>(-1);

/// What a failing task tells. `pool` lives as long as the pool does.
struct error_info {
  std::exception_ptr error;
  std::string_view pool;
  std::size_t worker;     ///< that ran the task, or no_worker
  source_location where;  ///< where the task was submitted
};

/// A callable that derives from it is told when it is discarded instead of run: its
/// `void discard() noexcept` is called once, on the thread that discards it, in its context's
/// scope.
struct discardable {};

/// How a group is made.
struct group_options {
  std::size_t limit = 0;  ///< tasks of the group that run at a time, the waiter's included; 0: any
  bool on_workers = false;  ///< they run on workers only, never on who waits or submits
};

/// How a pool is made; designated initialisers name the options.
struct options {
  std::string name = "anonymous";
  std::size_t workers = 1;    ///< threads: 1 to 32,767
  std::size_t buffer = 1024;  ///< waiting tasks: 1 to 2^31-1

  /// How long a task may wait for company before a worker is woken for it: 0 to 1 hour. While work
  /// keeps coming, one worker looks once a delay, and submitting costs no wake. A task starts at
  /// once all the same when it is the first after a quiet spell, when half the buffer is taken,
  /// when somebody blocks for room, waits for idleness, stops or closes, and when it comes by
  /// submit(), schedule() or a group. Below 250 us the kernel's timers (50 us of slack) set the
  /// grain. 0: no task ever waits.
  std::chrono::nanoseconds wake_delay{0};

  /// Called on the worker inside the catch block for every task that throws, concurrently when
  /// workers fail together. Empty: one line to stderr. What it throws is written to stderr.
  std::function<void(const error_info&)> on_error{};

  /// Called on each worker before its first and after its last task. What they throw is written to
  /// stderr.
  std::function<void(std::size_t worker)> on_worker_start{}, on_worker_stop{};

  /// Called on a worker that has run a task since the last call and finds no more: commit, flush or
  /// send what the tasks gathered. It may submit; wait_idle and close wait for it.
  std::function<void(std::size_t worker)> on_worker_idle{};
};

/// Counters of a pool. At rest accepted == completed + failed + discarded.
struct stats {
  std::uint64_t accepted = 0;   ///< tasks taken
  std::uint64_t completed = 0;  ///< tasks that returned
  std::uint64_t failed = 0;     ///< tasks that threw
  std::uint64_t discarded = 0;  ///< tasks dropped by a close, a purge or an eviction
  std::uint64_t rejected = 0;   ///< calls that answered `full`
  std::size_t queued = 0;       ///< tasks waiting now
  std::size_t running = 0;      ///< tasks running now
  std::size_t workers = 0, capacity = 0;
};

/// Durations counted by powers of two of a nanosecond.
class histogram {
 public:
  using duration = std::chrono::nanoseconds;
  /// buckets()[i] counts durations of i significant bits: below 2^i ns, and from 2^(i-1) ns on.
  using bucket_counts = std::array<std::uint64_t, 64>;

  const bucket_counts& buckets() const noexcept { return buckets_; }

  std::uint64_t count() const noexcept {
    std::uint64_t sum = 0;
    for (const std::uint64_t n : buckets_) sum += n;
    return sum;
  }

  /// The upper end of the bucket that holds the quantile `q` (0 to 1); 0 when nothing was counted.
  duration quantile(double q) const noexcept {
    const auto rank = (q < 1.0 ? q : 1.0) * static_cast<double>(count());
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      sum += buckets_[i];
      if (sum > 0 && static_cast<double>(sum) >= rank) return upper_end(i);
    }
    return duration(0);
  }

  /// The bucket of `d`, and the longest duration that a bucket counts.
  static std::size_t bucket_of(duration d) noexcept {
    if (d.count() < 0) return 0;
    return static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(d.count())));
  }
  static duration upper_end(std::size_t bucket) noexcept {
    return duration(static_cast<duration::rep>((std::uint64_t{1} << bucket) - 1));
  }

 private:
  template <class Policy> friend class basic_pool;
  bucket_counts buckets_{};
};

/// A task that has not returned yet.
struct running_task {
  std::size_t worker;
  source_location where;  ///< where it was submitted
  std::chrono::nanoseconds elapsed;
};

/// What a pool whose Policy::timed is true counts besides.
struct timed_stats : stats {
  histogram wait_time;  ///< from acceptance to start
  histogram run_time;   ///< from start to end, of tasks that have ended
  std::optional<running_task> longest_running;
};

/// How long the accepted prefix of a bulk is, and why it ended.
struct bulk_result {
  std::size_t accepted = 0;
  std::error_code error{0, category()};
};

/// What a worker does with a task's exception.
enum class on_exception {
  report,    ///< catch it, count it, call on_error
  terminate  ///< let it end the program with the throwing frame on the stack
};

// ---------------------------------------------------------------------------------------------
// Policy

namespace detail {
struct native_sync;
}

/// The constants and types of a pool. Derive from it and redeclare what should differ.
struct default_policy {
  using enum fanout::on_exception;

  /// Closures of up to this many bytes, aligned to at most max_align_t, that move without throwing
  /// need no allocation. With a one-pointer source_location a slot is then one 64-byte line.
  static constexpr std::size_t inline_size = 40 + sizeof(void*) - sizeof(source_location);
  static constexpr bool allow_heap = true;  ///< false: a closure that does not fit does not compile
  static constexpr fanout::on_exception on_exception = report;
  static constexpr unsigned spins = 4;  ///< looks of an idle worker before it parks; any number

  /// What follows a task from its submitter: `static context capture() noexcept`, called before the
  /// claim, and `auto enter()`, whose result is held around the task's run and destruction. What
  /// enter() throws is the task's failure. void: nothing, at no cost.
  using context = void;

  /// true: stats() tells how long tasks wait and run. false: no clock is ever read.
  static constexpr bool timed = false;

  using sync = detail::native_sync;
};

/// default_policy that measures.
struct timed_policy : default_policy {
  static constexpr bool timed = true;
};

// ---------------------------------------------------------------------------------------------
// Edges and platform
//
// Synchronisation edges. Each row: release site -> acquire site: what it publishes. The numbers
// stand beside the operations.
//
//   (1)  ring::publish  stamp.store    -> ring::find_front   stamp.load   the task in the slot
//   (2)  ring::vacate   stamp.store    -> ring::claim_back   stamp.load   the emptied slot
//   (3)  idle_protocol::wake  permits  -> idle_protocol::sleep  permits    all before the wake
//   (4)  counter::add   value.store    -> counter::get       value.load   a task's whole effect
//   (5)  the mutexes of room_waiters and idle_waiters: their counts, all before a call into them
//   (6)  basic_pool's close mutex: the closing state, and all before a worker's end
//   (7)  std::jthread's start and join
//   (8)  count_ended    ended.add      -> is_done            ended.load   a group task's effect
//   (9)  the mutexes of help_desk (the groups' places) and of group_state (its failure, its stop
//        source, the tasks beside its ring)
//   (10) seqlock::write, stores        -> seqlock::read, loads: the value
//   (11) closing's mutex: who waits for which pool
//   (12) a stop token's request -> its observation: the closed ring, the discard mark
//   (13) end_run        dirty.store    -> is_idle            dirty.load   what the run's tasks did
//   (14) idle_protocol's word: each operation that changes it acquires and releases, so whoever
//        holds the search sees what its holders before did
//
// Store-load orders. Each side changes one place and then reads the other's; one of them sees the
// other. All four operations are sequentially consistent, and but for (D) and (I) the frequent side
// changes its place by the claim that it needs anyway. So publishing and vacating a slot order
// nothing: whoever sees a claim, and not yet what follows it, looks again instead of sleeping.
//
//   (A)  claim the tail or list a group; read the idle word | count asleep;   read both
//   (B)  the same                                           | stop searching; read both
//   (C)  claim the head; read submitters            | count blocked;   read the head
//   (D)  end a run (13); read idlers                | count waiting;   read the runs' marks
//   (E)  claim a group's tail; read idlers          | count waiting;   read the tail
//   (F)  claim a group's tail; read its place       | put it off;      read the tail
//   (G)  claim or close the tail, or list a group; read the idle word | set napping; read them
//   (H)  count waiting; read the idle word          | set napping;     read idlers
//   (I)  count discarded or ended (8); read idlers  | count waiting;   read the count
//   (J)  give a place under the limit back; read    | put it stalled, or count waiting; read
//        the group's place, waiters and submitters  | the places taken

namespace detail {

inline constexpr auto relaxed = std::memory_order_relaxed, acquire = std::memory_order_acquire,
                      release = std::memory_order_release, acq_rel = std::memory_order_acq_rel,
                      seq_cst = std::memory_order_seq_cst;
inline constexpr std::size_t cache_line = 64;
inline constexpr std::size_t line_pair = 2 * cache_line;  // lines that are fetched together

using steady_time = std::chrono::steady_clock::time_point;
FANOUT_OWN_COPY inline constexpr steady_time no_deadline = (steady_time::max)();

template <class T> constexpr T smaller(T a, T b) noexcept { return b < a ? b : a; }

/// The platform under the synchronising parts. A policy may name another `sync` with these members,
/// to run the same parts under a model checker or to count what they do.
struct native_sync {
  template <class T> using atomic = std::atomic<T>;
  using mutex = std::mutex;
  using condition_variable = std::condition_variable;
  using thread = std::jthread;

  static std::thread::id this_thread() noexcept { return std::this_thread::get_id(); }

  /// Tells the core that this is a busy wait.
  static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
  }

  static void sleep_briefly() noexcept {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  static steady_time now() noexcept { return std::chrono::steady_clock::now(); }

  /// Sleeps while `word` is `expected`; may return without cause. Untimed: a lost wake-up hangs.
  static void park(std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
#if defined(__linux__)
    futex(word, futex_wait, expected, nullptr);
#else
    word.wait(expected, relaxed);  // the caller's own load takes the edge
#endif
  }

  /// Ends one park on `word`, if there is one.
  static void unpark_one(std::atomic<std::uint32_t>& word) noexcept {
#if defined(__linux__)
    futex(word, futex_wake, 1, nullptr);
#else
    word.notify_one();
#endif
  }

  /// One place at which one thread parks on a word, with a deadline.
  class timed_parking {
   public:
    /// Sleeps while `word` is `expected`, to the deadline at most; may return without cause.
    void park_until(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                    steady_time deadline) noexcept {
#if defined(__linux__)
      const auto left = deadline.time_since_epoch();
      const auto whole = std::chrono::floor<std::chrono::seconds>(left);
      const kernel_time until{static_cast<kernel_time_part>(whole.count()),
                              static_cast<kernel_time_part>((left - whole).count())};
      futex(word, futex_wait_until, expected, &until);  // steady_clock is CLOCK_MONOTONIC
#else
      std::unique_lock hold(mutex_);
      if (word.load(relaxed) == expected) woken_.wait_until(hold, deadline);
#endif
    }

    /// After `word` changed: ends the park, if there is one.
    void unpark(std::atomic<std::uint32_t>& word) noexcept {
#if defined(__linux__)
      unpark_one(word);
#else
      static_cast<void>(word);
      const std::lock_guard hold(mutex_);
      woken_.notify_one();
#endif
    }

#if !defined(__linux__)
   private:
    std::mutex mutex_;
    std::condition_variable woken_;
#endif
  };

 private:
#if defined(__linux__)
  static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t),
                "the kernel reads a plain 32-bit word");
  // futex(2), whose numbers are the kernel's and never change; its header may be absent. The time
  // is absolute, of CLOCK_MONOTONIC, in the registers' width, whatever time_t is.
  static constexpr int futex_private = 128, futex_wait = 0 | futex_private,
                       futex_wake = 1 | futex_private, futex_wait_until = 9 | futex_private;
#if defined(SYS_futex)
  static constexpr long futex_call = SYS_futex;
  using kernel_time_part = long;
#else
  static constexpr long futex_call = SYS_futex_time64;
  using kernel_time_part = std::int64_t;
#endif
  struct kernel_time {
    kernel_time_part seconds, nanoseconds;
  };
  static void futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
                    const kernel_time* until) noexcept {
    ::syscall(futex_call, &word, operation, value, until, nullptr, 0xffffffffu);
  }
#endif
};

/// As std::to_string, whose table of digits keeps a plugin from being unloaded.
template <class T> std::string decimal(T value) {
  char text[24];
  if constexpr (std::is_signed_v<T>) {
    std::snprintf(text, sizeof text, "%lld", static_cast<long long>(value));
  } else {
    std::snprintf(text, sizeof text, "%llu", static_cast<unsigned long long>(value));
  }
  return text;
}

/// Where UTF-8 text may be cut: the first character that begins at `at` or behind it.
inline std::size_t next_character(std::string_view text, std::size_t at) noexcept {
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u) ++at;
  return at;
}

/// `text` in at most `size` bytes. Of what is longer the middle goes, since names that begin alike
/// differ at their ends.
inline std::string shortened(std::string_view text, std::size_t size) {
  if (text.size() <= size) return std::string(text);
  std::size_t head = 0;
  for (std::size_t next = 0; next <= (size - 1) / 2; next = next_character(text, next + 1)) {
    head = next;
  }
  const std::size_t tail = next_character(text, text.size() - (size - 1 - head));
  return std::string(text.substr(0, head)) + '~' + std::string(text.substr(tail));
}

/// Names the calling thread "pool/worker", the pool's part shortened to the platform's limit.
inline void name_this_thread([[maybe_unused]] const std::string& pool,
                             [[maybe_unused]] std::size_t worker) {
#if defined(__linux__) || defined(__APPLE__)
  const std::string suffix = '/' + decimal(worker);
  const std::string name = shortened(pool, 15 - suffix.size()) + suffix;
#if defined(__linux__)
  ::pthread_setname_np(::pthread_self(), name.c_str());
#else
  ::pthread_setname_np(name.c_str());
#endif
#endif
}

/// Writes a line to stderr, if that takes it within a moment: its reader may be gone, which must
/// raise no SIGPIPE, or stand still.
inline void write_to_stderr(const char* line, std::size_t size) noexcept {
#if defined(FANOUT_POSIX)
  ::pollfd out{STDERR_FILENO, POLLOUT, 0};
  constexpr int moment = 100;  // ms
  if (::poll(&out, 1, moment) != 1 || (out.revents & POLLOUT) == 0) return;
  ::sigset_t pipe, before, pending;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::sigpending(&pending);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  const bool failed = ::write(STDERR_FILENO, line, size) < 0;
  if (failed && ::sigismember(&pending, SIGPIPE) == 0) {
    ::sigpending(&pending);
    int taken = 0;
    if (::sigismember(&pending, SIGPIPE) == 1) ::sigwait(&pipe, &taken);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
#else
  std::fwrite(line, 1, size, stderr);
#endif
}

}  // namespace detail

// ---------------------------------------------------------------------------------------------
// The ring

namespace detail {

/// Fetches the line `ahead` bytes behind `p` as one that is going to be written: where another core
/// has it, one move of the line instead of a shared copy now and its invalidation later. A hint:
/// any address will do.
inline void prefetch_to_write(const void* p, std::size_t ahead) noexcept {
  [[maybe_unused]] const auto address = reinterpret_cast<std::uintptr_t>(p) + ahead;
#if defined(__x86_64__) && defined(__LP64__)
  __asm__ __volatile__("prefetchw (%0)" : : "r"(address));
#elif defined(__GNUC__)
  __builtin_prefetch(reinterpret_cast<const void*>(address), 1);
#endif
}

/// A bounded MPMC ring of slots: D. Vyukov's queue (1024cores.net, 2010) with the lap and index
/// stamps of crossbeam's ArrayQueue, which give every capacity exactly and need no division. All it
/// needs of a Slot is its stamp.
///
/// A position is a lap and, in its low bits, an index. The stamp of the slot at position p is
///   p             free for the submitter that claims p; in the first lap also 0, so that a slot
///                 that was never used is memory that was never touched
///   p + 1         holding the task of p
///   p + one_lap_  vacated, that is free for the submitter one lap later
/// and only moves forward. tail_ is the next position to fill, head_ the next to empty; a claim
/// moves one of them forward, and needs a stamp that says it is its turn.
///
/// Progress: a thread that stalls between its claim and its publish or vacate holds up those who
/// need that slot next; they are told that there is none and never wait in here.
template <class Slot, class Sync> class ring {
  using atomic = typename Sync::template atomic<std::uint64_t>;

 public:
  using position = std::uint64_t;

  /// The `count` consecutive positions from `first` on are the caller's to fill and to publish, in
  /// order. None: `why` says full or closed.
  struct claim {
    position first = 0;
    std::size_t count = 0;
    errc why{};
  };

  /// The stamps of the slots from `first` on are 0.
  ring(Slot* first, std::size_t capacity) noexcept
      : slots_(first), capacity_(capacity), one_lap_(std::bit_ceil(std::uint64_t{capacity} + 1)) {}

  Slot& at(position p) const noexcept { return slots_[static_cast<std::size_t>(index(p))]; }

  /// The position `n` places after `p`; at most one lap.
  position next(position p, std::uint64_t n = 1) const noexcept {
    const std::uint64_t i = index(p) + n;
    return i < capacity_ ? p + n : (p | (one_lap_ - 1)) + 1 + (i - capacity_);
  }

  /// The position at which half the slots, rounded up, are taken when `first` is the next to fill.
  position half_from(position first) const noexcept { return next(first, (capacity_ - 1) / 2); }

  /// Calls `visit` with the slots and positions of a claim.
  template <class Visit> void for_each(const claim& of, Visit visit) const noexcept {
    const std::uint64_t capacity = capacity_;  // constants that no store to a slot can touch
    Slot* const first = slots_;
    position p = of.first;
    std::uint64_t i = index(p);
    for (std::size_t count = of.count; count > 0; --count) {
      visit(first[static_cast<std::size_t>(i)], p);
      p = ++i < capacity ? p + 1 : next(p);
      if (i == capacity) i = 0;
    }
  }

  /// Claims up to `wanted` consecutive slots in one step.
  claim claim_back(std::size_t wanted) noexcept {
    // Relaxed: edge (2) is the stamp's, and a stale tail fails the exchange.
    for (position tail = tail_.load(relaxed);;) {
      if ((tail & closed_bit) != 0) return {0, 0, errc::closed};
      position end = tail;
      std::uint64_t stamp = 0;
      std::size_t count = 0;
      for (; count < wanted; ++count, end = next(end)) {
        stamp = at(end).stamp.load(acquire);  // (2)
        if (stamp != end) [[unlikely]] {
          if (stamp != 0 || end >= one_lap_) break;  // else it was never used
        }
      }
      if (count > 0) {
        // Linearization point of an acceptance, and the one place that decides between accepted
        // and closed. Sequentially consistent for (A), (B), (E), (F) and (G).
        if (tail_.compare_exchange_weak(tail, end, seq_cst, relaxed)) return {tail, count, errc{}};
        back_off();
        tail = tail_.load(relaxed);
      } else if (static_cast<std::int64_t>(stamp - tail) < 0) {
        // Linearization point of a refusal: the load of the stamp. It is of the lap before, so
        // nobody had claimed this tail.
        return {0, 0, errc::full};
      } else {
        tail = tail_.load(relaxed);  // somebody claimed it meanwhile
      }
    }
  }

  void publish(Slot& filled, position p) noexcept {
    filled.stamp.store(p + 1, release);  // (1)
  }

  /// Claims the oldest task, at `p`, and returns its slot; null when the slot next in order holds
  /// none.
  Slot* claim_front(position& p) noexcept {
    while (Slot* const first = find_front(p)) {
      if (head_.compare_exchange_weak(p, next(p), seq_cst, relaxed)) {  // (C)
        // Submitters wrote the slots ahead, and the worker that takes one writes its stamp.
        prefetch_to_write(first, 3 * sizeof(Slot));
        return first;
      }
      back_off();
    }
    return nullptr;
  }

  /// As claim_front, of tasks in front of `end`.
  Slot* claim_front_before(position end, position& p) noexcept {
    while (Slot* const first = find_front(p)) {
      if (p >= end) break;
      if (head_.compare_exchange_weak(p, next(p), seq_cst, relaxed)) return first;  // (C)
    }
    return nullptr;
  }

  /// What claim_back_evicting did: what claim_back would, or, over a full ring, it claimed the
  /// oldest task, at `victim`, together with the slot that holds it for the position
  /// `filled.first`. If the ring was closed in between, only the task: then `filled` says closed.
  struct eviction {
    claim filled;
    bool evicts = false;
    position victim = 0;
  };

  /// Says full only while somebody else fills or empties the slot next in order.
  eviction claim_back_evicting() noexcept {
    for (;;) {
      position tail = tail_.load(relaxed);
      const position oldest = tail - one_lap_;                   // if the ring is full
      const std::uint64_t stamp = at(tail).stamp.load(acquire);  // (1)
      if (stamp == oldest + 1) [[likely]] {
        position head = oldest;
        while (head == oldest) {
          if (!head_.compare_exchange_weak(head, next(oldest), seq_cst, relaxed)) continue;
          // Now nobody but a closing can change the tail: its slot is not vacated.
          const position end = next(tail);
          while (!tail_.compare_exchange_weak(tail, end, seq_cst, relaxed)) {
            if ((tail & closed_bit) != 0) return {{0, 0, errc::closed}, true, oldest};
          }
          return {{tail, 1, errc{}}, true, oldest};
        }
      } else {
        const claim free = claim_back(1);
        if (free.why != errc::full) return {free};
      }
      // Relaxed: a refusal publishes nothing.
      if (at(tail).stamp.load(relaxed) == stamp && tail_.load(relaxed) == tail) {
        return {{0, 0, errc::full}};
      }
    }
  }

  void vacate(Slot& emptied, position p) noexcept {
    emptied.stamp.store(p + one_lap_, release);  // (2)
  }

  /// Whether claim_front would find a task.
  bool is_ready() const noexcept {
    position p = 0;
    return find_front(p) != nullptr;
  }

  /// Whether a slot is claimed that nobody has taken, be it published or not.
  bool has_claims() const noexcept {
    // Relaxed: a stale head is lower.
    return (tail_.load(seq_cst) & ~closed_bit) != head_.load(relaxed);  // (A) (B) (E) (F)
  }

  /// Whether nothing is claimed and the ring is open; then `tail` is the next position.
  bool is_empty_and_open(position& tail) const noexcept {
    tail = tail_.load(seq_cst);  // (G)
    return tail == head_.load(relaxed);
  }

  /// While has_claims and nothing is ready: a submitter is in its last few instructions, or was
  /// displaced there. Looks for a moment, then sleeps for one.
  void await_publisher() const noexcept {
    for (unsigned i = 0; i < pauses_for_another; ++i, Sync::pause()) {
      if (is_ready()) return;
    }
    Sync::sleep_briefly();
  }

  /// After a refusal: whether no slot becomes free before a worker claims the head. If not, one is
  /// free already or its worker is about to vacate it, and await_vacancy is to await_publisher.
  bool is_full_of_waiting() const noexcept {
    // Relaxed: the tail is at most one lap ahead of the head, so that a stale one is not equal.
    return head_.load(seq_cst) + one_lap_ == tail_.load(relaxed);  // (C)
  }
  void await_vacancy() const noexcept {
    for (unsigned i = 0; i < pauses_for_another; ++i, Sync::pause()) {
      const position tail = tail_.load(relaxed);
      if (at(tail).stamp.load(relaxed) == tail) return;  // relaxed: claim_back has the edge
    }
    Sync::sleep_briefly();
  }

  /// Accepts nothing more. Linearization point of closing.
  void close() noexcept { tail_.fetch_or(closed_bit, seq_cst); }  // (G)
  bool is_closed() const noexcept { return (tail_.load(relaxed) & closed_bit) != 0; }

  /// The next position to fill.
  position end() const noexcept { return tail_.load(relaxed) & ~closed_bit; }

  /// Whether the ring is closed and every task claimed. Once true, it stays so.
  bool is_drained() const noexcept {
    return (head_.load(relaxed) | closed_bit) == tail_.load(relaxed);
  }

  /// Tasks accepted and taken since construction. Relaxed: a caller that needs an order brings it.
  std::uint64_t pushed() const noexcept { return ordinal(end()); }
  std::uint64_t popped() const noexcept { return ordinal(head_.load(relaxed)); }

 private:
  static constexpr std::uint64_t closed_bit = std::uint64_t{1} << 63;
  static constexpr unsigned pauses_for_another = 16;

  std::uint64_t index(position p) const noexcept { return p & (one_lap_ - 1); }
  std::uint64_t ordinal(position p) const noexcept {
    return (p >> std::countr_zero(one_lap_)) * capacity_ + index(p);
  }

  /// After a lost race for the head or the tail: the winner has the line, and moves on faster than
  /// the line would come and go.
  static void back_off() noexcept {
    for (unsigned i = 0; i < pauses_for_another; ++i) Sync::pause();
  }

  /// Finds the head, and its slot if that holds a task, else null. When the stamp does not match,
  /// the head is read again: another worker may have taken that slot and left a ready one behind.
  Slot* find_front(position& head) const noexcept {
    for (head = head_.load(relaxed);;) {
      Slot& first = at(head);
      if (first.stamp.load(acquire) == head + 1) return &first;  // (1)
      const position now = head_.load(relaxed);
      if (now == head) return nullptr;
      head = now;
    }
  }

  Slot* const slots_;
  const std::uint64_t capacity_;
  const std::uint64_t one_lap_;
  alignas(line_pair) atomic tail_{0};  // with closed_bit; submitters write it
  alignas(line_pair) atomic head_{0};  // workers write it
};

}  // namespace detail

// ---------------------------------------------------------------------------------------------
// The idle protocol

namespace detail {

/// Decides who searches, who naps and who sleeps, as the schedulers of Go and Tokio do.
///
/// A worker runs, searches, naps or sleeps. One word says whether somebody searches, whether the
/// one that searches naps, and how many sleep. At most one worker searches; the others go to sleep.
/// A submitter wakes a sleeper only when nobody searches, and does the accounting for it (one
/// sleeper less, one searcher, one permit), so that a burst costs one wake. Who is woken and finds
/// several tasks wakes others.
///
/// With a delay, the searcher that finds nothing naps while work keeps coming: it looks once a
/// delay, and submitters need not wake anybody. A submitter ends the nap (kicks) when its task is
/// urgent or half the buffer is taken.
///
/// Invariant: when a slot is claimed, somebody runs, searches, naps or has a permit, and will look.
/// It holds because every worker looks for claims after it counted itself asleep or napping, and
/// because whoever leaves the search, having found a task or at its end, looks for claims and wakes
/// another if there is one. The searcher does not sleep over a claim that is not published yet.
template <class Sync> class idle_protocol {
 public:
  using position = std::uint64_t;

  explicit idle_protocol(std::chrono::nanoseconds delay) noexcept : delay_(delay) {}

  /// After the slot of `p` was published: sees to it that somebody looks, at once if it is urgent.
  void notify(position p, bool is_urgent) noexcept {
    const std::uint32_t word = word_.load(seq_cst);  // (A) (B) (G)
    if ((word & searching) == 0) {
      if (word != 0) wake();
    } else if ((word & napping) != 0) [[unlikely]] {
      // Relaxed: a value of an earlier nap is lower, so it kicks early, never late.
      if (is_urgent || p >= half_.load(relaxed)) kick();
    }
  }

  /// After the ring was closed or a stop requested: somebody looks at once.
  void notify_closed() noexcept {
    // Changes the word, so that whoever counts asleep later sees the close (14).
    const std::uint32_t before = word_.fetch_and(~napping, seq_cst);
    if ((before & napping) != 0) parking_.unpark(word_);
    if ((before & searching) == 0 && before != 0) wake();
  }

  /// Somebody waits: the nap, if there is one, ends now.
  void kick() noexcept {
    if ((word_.load(seq_cst) & napping) == 0) return;  // (H)
    // Who clears the bit unparks: without the bit, an unpark before the park would be lost.
    if ((word_.fetch_and(~napping, seq_cst) & napping) != 0) parking_.unpark(word_);
  }

  bool has_sleepers() const noexcept { return word_.load(relaxed) >= one_sleeping; }  // a hint

  /// Makes the caller the searcher, unless there is one.
  bool start_search() noexcept {
    std::uint32_t word = word_.load(relaxed);
    while ((word & searching) == 0) {
      if (word_.compare_exchange_weak(word, word + searching, acq_rel, relaxed))
        return true;  // (14)
    }
    return false;
  }

  /// The searcher found a task, or ends: another one is woken if something is ready.
  template <class Ready> void end_search(Ready ready) noexcept {
    const std::uint32_t before = word_.fetch_sub(searching, seq_cst);  // (B) (14)
    if (before >= one_sleeping && ready()) wake();
  }

  /// A worker that was woken found a task, and several more wait: wakes another one, beside the
  /// searcher that end_search woke, so that a burst wakes a tree of sleepers and not a chain.
  void wake_beside() noexcept {
    if (!claim_sleeper(0)) return;
    permits_.fetch_add(plain_permit, release);  // (3)
    Sync::unpark_one(permits_);
  }

  /// The searcher, which found nothing, naps if work keeps coming, over a ring of `tasks` that is
  /// empty while nobody is `awaited`; false if it should sleep. It is the searcher afterwards.
  template <class Tasks, class Awaited> bool nap(const Tasks& tasks, Awaited awaited) noexcept {
    if (delay_ == delay_.zero()) return false;
    position next = 0;
    const auto is_quiet = [&] { return tasks.is_empty_and_open(next) && !awaited(); };
    const steady_time deadline = Sync::now() + delay_;
    if (deadline - delay_ >= nap_until_ || !is_quiet()) return false;
    const std::uint64_t before = tasks.pushed();
    half_.store(tasks.half_from(next), relaxed);
    word_.fetch_or(napping, seq_cst);  // (G) (H)
    if (!is_quiet()) {
      word_.fetch_and(~napping, seq_cst);
      return true;
    }
    for (bool in_time = true; in_time; in_time = Sync::now() < deadline) {
      const std::uint32_t word = word_.load(relaxed);
      if ((word & napping) == 0) break;
      parking_.park_until(word_, word, deadline);
    }
    const bool was_kicked = (word_.fetch_and(~napping, seq_cst) & napping) == 0;  // (14)
    // One task a delay is better served by a wake.
    const bool pays = was_kicked || tasks.pushed() - before >= 2;
    nap_until_ = pays ? Sync::now() + delay_ : steady_time();
    return true;
  }

  /// Sleeps until woken; returns at once when something is ready and nobody else searches for it.
  /// Says whether the caller is the searcher afterwards.
  template <class Ready> bool sleep(bool is_searching, Ready ready) noexcept {
    word_.fetch_add(is_searching ? one_sleeping - searching : one_sleeping, seq_cst);  // (A) (14)
    if (ready() && claim_sleeper(searching)) return true;  // woken by itself
    std::uint32_t permit = 0;
    while ((permit = take_permit()) == 0) Sync::park(permits_, 0);
    if (permit == plain_permit) return false;
    if (delay_ == delay_.zero()) return true;
    const steady_time now = Sync::now();
    if (now - woken_at_ < delay_) nap_until_ = now + delay_;
    woken_at_ = now;
    return true;
  }

 private:
  static constexpr std::uint32_t searching = 1, napping = 2, one_sleeping = 4;  // of word_
  static constexpr std::uint32_t search_permit = 1,
                                 plain_permit = 2;  // of permits_; one of the first

  /// Takes a sleeper from the count; `role` is searching, which only one may have, or 0.
  bool claim_sleeper(std::uint32_t role) noexcept {
    std::uint32_t word = word_.load(relaxed);
    while (word >= one_sleeping && (word & role) == 0) {
      if (word_.compare_exchange_weak(word, word - one_sleeping + role, acq_rel, relaxed)) {
        return true;  // (14)
      }
    }
    return false;
  }

  /// A permit, with the search if there is one with it; 0: none.
  std::uint32_t take_permit() noexcept {
    std::uint32_t permits = permits_.load(relaxed);
    while (permits != 0) {
      const std::uint32_t one = (permits & search_permit) != 0 ? search_permit : plain_permit;
      if (permits_.compare_exchange_weak(permits, permits - one, acquire, relaxed))
        return one;  // (3)
    }
    return 0;
  }

  void wake() noexcept {
    if (!claim_sleeper(searching)) return;
    permits_.fetch_add(search_permit, release);  // (3)
    Sync::unpark_one(permits_);
  }

  alignas(line_pair) typename Sync::template atomic<std::uint32_t> word_{0};
  typename Sync::template atomic<std::uint32_t> permits_{0};  // wakes that no sleeper has taken
  typename Sync::template atomic<std::uint64_t> half_{0};     // a nap ends at this position
  const std::chrono::nanoseconds delay_;
  // Only whoever holds the search touches these (14).
  steady_time woken_at_{};   // last, by a permit
  steady_time nap_until_{};  // work keeps coming: wakes less than a delay apart, or a nap that paid
  typename Sync::timed_parking parking_;  // of the napper, on word_
};

/// Tasks of the ring, or of a group, that a worker runs before it looks at the others.
FANOUT_OWN_COPY inline constexpr unsigned tasks_per_turn = 32;

/// What a worker does: runs what is in the ring, and tasks of groups in turn; when it is empty,
/// looks whether to stop, searches, naps, sleeps. Returns when it is to stop and the ring is
/// drained. `self` says what it calls:
///   run(slot, position)        a claimed slot
///   begin_run(), end_run()     around the tasks between two times that it found nothing
///   is_asked(), help()         whether a group has tasks for it; runs some of one that has
///   is_stopping(), is_over()   whether it ends once nothing is left; whether nothing is
///   is_awaited()               whether somebody waits for all to end, so that nobody may nap
template <class Policy, class Tasks, class Worker>
void worker_main(Tasks& tasks, idle_protocol<typename Policy::sync>& idle, Worker& self) {
  const auto ready = [&] {
    return tasks.has_claims() || self.is_asked() || (self.is_stopping() && self.is_over());
  };
  constexpr unsigned looks_of_a_run = 4;  // it has ended when so many found nothing
  bool is_searching = false, is_running = false, was_woken = false;
  for (unsigned looks = 0;;) {
    typename Tasks::position p = 0;
    if (auto* first = tasks.claim_front(p); first != nullptr || self.is_asked()) {
      if (is_searching) idle.end_search(ready);
      is_searching = false;
      if (std::exchange(was_woken, false) && tasks.pushed() - tasks.popped() > 1)
        idle.wake_beside();
      if (!is_running) self.begin_run();
      is_running = true;
      for (unsigned left = tasks_per_turn; first != nullptr;) {
        self.run(*first, p);
        first = --left > 0 ? tasks.claim_front(p) : nullptr;
      }
      self.help();
      looks = 0;
    } else if (is_running && looks >= smaller(Policy::spins, looks_of_a_run)) {
      if (is_searching) idle.end_search(ready);
      is_searching = false;
      self.end_run();  // may take its time, or submit: looks again
      is_running = false;
    } else if (!is_running && self.is_stopping() && self.is_over()) {
      break;
    } else if (looks < Policy::spins) {
      // To search spares others a wake; where nobody sleeps, it would only take the word's line.
      if (!is_searching && idle.has_sleepers()) is_searching = idle.start_search();
      // Ever longer pauses: a look takes the line that a submitter is going to write.
      for (unsigned i = 0; i < 1u << smaller(looks, 4u); ++i) Policy::sync::pause();
      ++looks;
    } else if (!is_searching && idle.start_search()) {
      is_searching = true;  // and looks again
    } else if (is_searching && tasks.has_claims()) {
      tasks.await_publisher();
    } else if (is_searching &&
               idle.nap(tasks, [&] { return self.is_awaited() || self.is_asked(); })) {
      looks = 0;
    } else {
      is_searching = idle.sleep(is_searching, ready);
      was_woken = true;
      looks = 0;
    }
  }
  // The searcher that ends passes the duty on: the next sleeper finds nothing left, and ends.
  if (is_searching) idle.end_search(ready);
}

}  // namespace detail

// ---------------------------------------------------------------------------------------------
// Waiting

namespace detail {

inline bool is_past(steady_time deadline) noexcept {
  return deadline != no_deadline && std::chrono::steady_clock::now() >= deadline;
}

/// The time `d` from now. Saturates: no_deadline is forever.
template <class Rep, class Period>
steady_time deadline_after(const std::chrono::duration<Rep, Period>& d) {
  using seconds = std::chrono::duration<long double>;
  const steady_time now = std::chrono::steady_clock::now();
  if (!(d > d.zero())) return now;
  if (seconds(d) >= seconds(no_deadline - now) / 2) return no_deadline;
  return now + std::chrono::ceil<steady_time::duration>(seconds(d));  // any period without overflow
}

template <class Clock, class Duration>
steady_time deadline_at(const std::chrono::time_point<Clock, Duration>& tp) {
  using seconds = std::chrono::duration<long double>;
  return deadline_after(seconds(tp.time_since_epoch()) - seconds(Clock::now().time_since_epoch()));
}

template <class T>
concept duration = requires(const T& d) { deadline_after(d); };
template <class T>
concept time_point = requires(const T& tp) { deadline_at(tp); };

/// Waits once; false when the deadline has passed.
template <class Sync>
bool wait_once(typename Sync::condition_variable& on, std::unique_lock<typename Sync::mutex>& hold,
               steady_time deadline) {
  if (deadline == no_deadline) {
    on.wait(hold);
    return true;
  }
  // What a 32-bit time_t cannot hold is reached in steps.
  const steady_time step = smaller(deadline, Sync::now() + std::chrono::hours(24));
  return on.wait_until(hold, step) == std::cv_status::no_timeout || step != deadline;
}

/// Where submitters wait until a slot is free. Workers enter only when a count says that somebody
/// is there.
///
/// Invariant, under the mutex: submitters_ + calls_ threads are inside wait(). A vacated slot moves
/// one from submitters_ to calls_, so that a burst of them calls each thread once.
template <class Sync> class room_waiters {
  using lock = std::unique_lock<typename Sync::mutex>;

 public:
  /// After a slot was vacated: calls a waiting submitter.
  void notify_not_full() noexcept {
    if (submitters_.load(seq_cst) != 0) [[unlikely]] {  // (C)
      const lock hold(mutex_);                          // (5)
      call_one();
    }
  }

  /// After the ring was closed: every waiting submitter tries once more.
  void notify_closed() noexcept {
    const lock hold(mutex_);  // (5)
    while (call_one()) {
    }
  }

  /// After a stop request: the waiting submitters look whether it was theirs.
  void notify_stopped() noexcept {
    const lock hold(mutex_);  // (5)
    not_full_.notify_all();
  }

  /// Calls `attempt` until it answers other than full, which it does only over a full ring whose
  /// head no worker has claimed (C). In between blocks until a slot is vacated, the deadline, or
  /// `is_stopped`. The deadline and the stop are followed by a last attempt.
  template <class Attempt, class IsStopped>
  errc wait(steady_time deadline, Attempt attempt, IsStopped is_stopped) {
    lock hold(mutex_);  // (5)
    count(1);
    errc answer = errc::full;
    for (bool in_time = true; answer == errc::full;) {
      hold.unlock();
      answer = attempt();
      hold.lock();  // (5)
      if (answer != errc::full) continue;
      if (is_stopped()) {
        answer = errc::canceled;
      } else if (!in_time) {
        answer = errc::timed_out;
      } else {
        while (calls_ == 0 && in_time && !is_stopped()) {
          in_time = wait_once<Sync>(not_full_, hold, deadline);
        }
        if (calls_ != 0) {
          --calls_;
          count(1);  // before it tries
        }
      }
    }
    leave();
    return answer;
  }

 private:
  void count(int n) noexcept {
    // Relaxed: the mutex orders the writers.
    submitters_.store(submitters_.load(relaxed) + static_cast<std::uint32_t>(n), seq_cst);  // (C)
  }

  /// Calls are nobody's own: one that the caller does not answer is another's.
  void leave() noexcept {
    if (submitters_.load(relaxed) != 0) {  // relaxed: under the mutex
      count(-1);
    } else {
      --calls_;
    }
    if (calls_ != 0) not_full_.notify_one();
  }

  bool call_one() noexcept {
    if (submitters_.load(relaxed) == 0) return false;  // relaxed: under the mutex
    count(-1);
    ++calls_;
    not_full_.notify_one();
    return true;
  }

  typename Sync::template atomic<std::uint32_t> submitters_{0};  // in wait(), called by nobody yet
  std::uint32_t calls_ = 0;  // calls that nobody has answered yet
  typename Sync::mutex mutex_;
  typename Sync::condition_variable not_full_;
};

/// Where threads wait until nothing waits or runs. Workers enter only when a count says that
/// somebody is there.
template <class Sync> class idle_waiters {
  using lock = std::unique_lock<typename Sync::mutex>;

 public:
  bool is_anybody() const noexcept { return idlers_.load(seq_cst) != 0; }  // (D) (E) (H) (I)

  /// After what they wait for may have come: who waits looks again.
  void notify_all() noexcept {
    if (is_anybody()) [[unlikely]] {
      const lock hold(mutex_);  // (5)
      idle_.notify_all();
    }
  }

  /// Blocks until `is_idle` or the deadline; says which. Calls `arrive` once it is counted.
  template <class IsIdle, class Arrive>
  bool wait(steady_time deadline, IsIdle is_idle, Arrive arrive) {
    lock hold(mutex_);  // (5)
    count(1);
    arrive();
    bool idle = is_idle();
    for (bool in_time = true; !idle && in_time; idle = is_idle()) {
      in_time = wait_once<Sync>(idle_, hold, deadline);
    }
    count(-1);
    return idle;
  }

 private:
  void count(int n) noexcept {
    // Relaxed: the mutex orders the writers.
    idlers_.store(idlers_.load(relaxed) + static_cast<std::uint32_t>(n), seq_cst);  // (D) to (I)
  }

  typename Sync::template atomic<std::uint32_t> idlers_{0};  // threads in wait()
  typename Sync::mutex mutex_;
  typename Sync::condition_variable idle_;
};

}  // namespace detail

// ---------------------------------------------------------------------------------------------
// Who waits for whom

namespace detail {

/// The threads inside a pool: its workers, until they are joined, and visitors, which run or drop
/// its tasks elsewhere or close it. The pool's object knows them, not a variable of the code: of
/// that each shared object may have a copy.
class insiders {
 public:
  using thread_id = std::thread::id;

  /// The thread `who`, which makes and ends this, is inside meanwhile.
  class visit {
   public:
    visit(insiders& of, thread_id who, bool closes = false) : of_(of), who_(who), closes_(closes) {
      const std::lock_guard hold(of_.mutex_);
      next_ = std::exchange(of_.visits_, this);
    }
    ~visit() {
      const std::lock_guard hold(of_.mutex_);
      visit** link = &of_.visits_;
      while (*link != this) link = &(*link)->next_;
      *link = next_;
    }
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;

   private:
    friend insiders;
    insiders& of_;
    const thread_id who_;
    const bool closes_;
    visit* next_ = nullptr;
  };

  explicit insiders(std::size_t workers)
      : workers_(std::make_unique<std::atomic<thread_id>[]>(workers)), count_(workers) {}

  // Relaxed: a thread asks of itself, or of one that blocks in a closing (11).
  void begin_worker(std::size_t index, thread_id who) noexcept {
    workers_[index].store(who, relaxed);
  }
  /// The workers are joined: other threads may have their ids from now on.
  void end_workers() noexcept {
    for (std::size_t i = 0; i < count_; ++i) workers_[i].store(thread_id(), relaxed);
  }

  /// The index of the worker that `who` is, or no_worker.
  std::size_t worker(thread_id who) const noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      if (workers_[i].load(relaxed) == who) return i;
    }
    return no_worker;
  }
  bool has_visitor(thread_id who, bool closing_ones_too) const noexcept {
    const std::lock_guard hold(mutex_);
    const visit* at = visits_;
    while (at != nullptr && (at->who_ != who || (at->closes_ && !closing_ones_too))) at = at->next_;
    return at != nullptr;
  }
  bool contains(thread_id who, bool closing_ones_too = true) const noexcept {
    return worker(who) != no_worker || has_visitor(who, closing_ones_too);
  }

 private:
  const std::unique_ptr<std::atomic<thread_id>[]> workers_;
  const std::size_t count_;
  mutable std::mutex mutex_;
  visit* visits_ = nullptr;
};

/// A thread that waits for a pool to end. All of them together tell whether one more wait would
/// wait for itself: on a thread inside that pool, or through pools that close each other (those
/// that the code of one shared object closes).
class closing {
 public:
  closing(const insiders& pool, insiders::thread_id who) : pool_(pool), who_(who) {
    const std::lock_guard hold(all_.mutex);  // (11)
    for (closing* one = all_.first; one != nullptr; one = one->next_) one->is_seen_ = false;
    is_circular_ = pool.contains(who) || waits_for_this_thread(pool);
    if (!is_circular_) next_ = std::exchange(all_.first, this);
  }
  ~closing() {
    if (is_circular_) return;
    const std::lock_guard hold(all_.mutex);  // (11)
    closing** link = &all_.first;
    while (*link != this) link = &(*link)->next_;
    *link = next_;
  }
  closing(const closing&) = delete;
  closing& operator=(const closing&) = delete;

  bool is_circular() const noexcept { return is_circular_; }

 private:
  struct list {
    std::mutex mutex;
    closing* first = nullptr;
  };
  FANOUT_OWN_COPY static list& own_list() noexcept {
    static immortal<list> the;
    return the.value;
  }

  /// Whether the end of `pool` waits for this thread: through threads inside it that wait for
  /// others.
  bool waits_for_this_thread(const insiders& pool) const noexcept {
    for (closing* other = all_.first; other != nullptr; other = other->next_) {
      if (other->is_seen_ || other->who_ == who_ || !other->began_inside(pool)) continue;
      other->is_seen_ = true;
      if (other->pool_.contains(who_) || waits_for_this_thread(other->pool_)) return true;
    }
    return false;
  }
  /// Whether its thread was inside `pool` when it began to wait; the later of two closings of a
  /// thread stands first.
  bool began_inside(const insiders& pool) const noexcept {
    if (pool.contains(who_, false)) return true;
    const closing* older = next_;
    while (older != nullptr && (older->who_ != who_ || &older->pool_ != &pool)) {
      older = older->next_;
    }
    return older != nullptr;
  }

  list& all_ = own_list();
  const insiders& pool_;
  const insiders::thread_id who_;
  closing* next_ = nullptr;
  bool is_circular_ = false;
  bool is_seen_ = false;  // in the search that goes on
};

/// What a forked child, which has none of the workers, must know of its parent's pools. Those of
/// one copy of the code are in one list, which pthread_atfork's handlers of that copy walk.
class inheritance {
 public:
  /// In the child calls `disown(pool)` before fork returns. Throws: std::system_error.
  inheritance(void (*disown)(void*) noexcept, void* pool) : disown_(disown), pool_(pool) {
#if defined(FANOUT_POSIX)
    const std::lock_guard hold(all_.mutex);
    watch_forks(all_);
    next_ = std::exchange(all_.first, this);
    if (next_ != nullptr) next_->previous_ = this;
#endif
  }
  ~inheritance() {
#if defined(FANOUT_POSIX)
    const std::lock_guard hold(all_.mutex);
    (previous_ != nullptr ? previous_->next_ : all_.first) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
#endif
  }
  inheritance(const inheritance&) = delete;
  inheritance& operator=(const inheritance&) = delete;

  /// Whether this is a child and the pool its parent's. Written only where there is one thread.
  bool is_foreign() const noexcept { return is_foreign_; }

 private:
  void (*const disown_)(void*) noexcept;
  void* const pool_;
  bool is_foreign_ = false;
#if defined(FANOUT_POSIX)
  struct list {
    std::mutex mutex;
    inheritance* first = nullptr;
    bool is_watching = false;
  };
  FANOUT_OWN_COPY static list& own_list() noexcept {
    static immortal<list> the;
    return the.value;
  }
  FANOUT_OWN_COPY static void watch_forks(list& all) {
    if (all.is_watching) return;
    // The thread that forks holds the mutex, so that the child has the list whole.
    const int failure = ::pthread_atfork([] { own_list().mutex.lock(); },
                                         [] { own_list().mutex.unlock(); }, &in_child);
#if defined(__cpp_exceptions)
    if (failure != 0) throw std::system_error(failure, std::generic_category(), "fanout: fork");
#else
    if (failure != 0) std::abort();
#endif
    all.is_watching = true;
  }
  FANOUT_OWN_COPY static void in_child() noexcept {
    for (inheritance* one = own_list().first; one != nullptr; one = one->next_) {
      one->is_foreign_ = true;
      one->disown_(one->pool_);
    }
    own_list().mutex.unlock();
  }

  list& all_ = own_list();
  inheritance *next_ = nullptr, *previous_ = nullptr;
#endif
};

}  // namespace detail

// ---------------------------------------------------------------------------------------------
// The task

namespace detail {

template <class Policy> struct execution;

/// What stands for Policy::context where that is void, and for the time where none is kept.
struct absent {};
struct no_context : absent {
  static no_context capture() noexcept { return {}; }
};

template <class Policy>
using context_of = std::conditional_t<std::is_void_v<typename Policy::context>, no_context,
                                      typename Policy::context>;

template <class Range>
using iterator_of = std::remove_cvref_t<decltype(std::begin(std::declval<Range&>()))>;
template <class Range> using reference_of = decltype(*std::declval<iterator_of<Range>&>());

/// An object that is made and destroyed by hand.
template <class T> struct manual {
  alignas(T) std::byte storage[sizeof(T)];
  void put(T&& value) noexcept { ::new (storage) T(std::move(value)); }
  T take() noexcept {
    T* const held = std::launder(reinterpret_cast<T*>(storage));
    T taken(std::move(*held));
    std::destroy_at(held);
    return taken;
  }
};
template <std::derived_from<absent> T> struct manual<T> {
  void put(T&&) noexcept {}
  T take() noexcept { return {}; }
};

/// One place of the ring: whose turn it is (stamp), the task, and where it was submitted.
template <class Policy> struct alignas(cache_line) slot {
  typename Policy::sync::template atomic<std::uint64_t> stamp;
  void (*execute)(slot&, execution<Policy>&);  // empties the slot, then runs or drops the task
  alignas(std::max_align_t) std::byte storage[Policy::inline_size];
  source_location where;
  [[no_unique_address]] manual<context_of<Policy>> context;
  [[no_unique_address]] std::conditional_t<Policy::timed, steady_time, absent> accepted_at;
};

template <class Policy> using ring_of = ring<slot<Policy>, typename Policy::sync>;

/// Slots that were never used: memory of zeros, which the system brings when it is touched. Atomics
/// that must be made, as a model checker's, are made.
template <class Slot> class fresh_slots {
  static constexpr bool are_made = !std::is_trivially_destructible_v<Slot>;

 public:
  /// Throws: std::bad_alloc.
  explicit fresh_slots(std::size_t count)
      : count_(count), block_(std::calloc(count + 1, sizeof(Slot))) {
    if (block_ == nullptr) {
#if defined(__cpp_exceptions)
      throw std::bad_alloc();
#else
      std::fputs("fanout: no memory for options::buffer\n", stderr);
      std::abort();
#endif
    }
    if constexpr (are_made) std::uninitialized_value_construct_n(get(), count);
  }
  ~fresh_slots() {
    if constexpr (are_made) std::destroy_n(get(), count_);
    std::free(block_);
  }
  fresh_slots(const fresh_slots&) = delete;
  fresh_slots& operator=(const fresh_slots&) = delete;

  Slot* get() const noexcept {
    void* first = block_;
    std::size_t space = (count_ + 1) * sizeof(Slot);
    return static_cast<Slot*>(std::align(alignof(Slot), count_ * sizeof(Slot), first, space));
  }

 private:
  const std::size_t count_;
  void* const block_;
};

static_assert(sizeof(source_location) != sizeof(void*) ||
                  sizeof(slot<default_policy>) == cache_line,
              "a slot is one line");

template <class Fn>
concept wants_token = std::is_invocable_v<Fn, std::stop_token>;

template <class F>
concept callable = std::is_constructible_v<std::decay_t<F>, F> &&
                   (wants_token<std::decay_t<F>> || std::is_invocable_v<std::decay_t<F>>);

/// Whether `f` holds nothing to call. Functions and stateless classes, such as a lambda that
/// converts to a function pointer, are never compared.
template <class F> bool is_empty_task(const F& f) {
  if constexpr (std::is_function_v<F> || std::is_empty_v<F>) {
    return false;
  } else if constexpr (requires { static_cast<bool>(f == nullptr); }) {
    return static_cast<bool>(f == nullptr);
  }
  return false;
}

/// Holds a task that is too large, too aligned or too throwing for a slot.
template <class Fn> using box = std::unique_ptr<std::optional<Fn>>;

template <class Policy, class Fn>
inline constexpr bool fits_slot =
    sizeof(Fn) <= Policy::inline_size && alignof(Fn) <= alignof(std::max_align_t) &&
    std::is_nothrow_move_constructible_v<Fn>;

/// Whether `Fn` is told when it is discarded.
template <class Fn>
concept is_told = std::derived_from<Fn, discardable>;

struct resumption;

template <class Fn> constexpr void check_discard() {
  static_assert(
      !is_told<Fn> || std::same_as<Fn, resumption> || requires(Fn& f) {
        { f.discard() } noexcept -> std::same_as<void>;
      }, "fanout: a discardable task needs an accessible void discard() noexcept");
}

template <class Policy, class Fn> class operation;

/// A callable on its way into a slot, there to be an Fn. The constructor does all that may throw,
/// and moves nothing; place() does the rest. Source is the reference that the submitter passed, at
/// `where`.
template <class Policy, class Fn, class Source> class parcel {
  using object = std::remove_reference_t<Source>;
  using context = context_of<Policy>;
  static constexpr bool fits = fits_slot<Policy, Fn>;
  static constexpr bool late = std::is_nothrow_constructible_v<Fn, Source>;  // after the claim
  static constexpr bool is_rvalue = std::is_rvalue_reference_v<Source> && !std::is_const_v<object>;
  using early_source = std::conditional_t<is_rvalue, const object&, Source>;

  static_assert(Policy::inline_size >= sizeof(void*), "fanout: a slot holds a pointer at least");
  static_assert(std::is_nothrow_destructible_v<Fn>,
                "fanout: the destructor of a task must not throw");
  static_assert(fits || Policy::allow_heap,
                "fanout: this task needs an allocation, which Policy::allow_heap forbids: it is "
                "larger than Policy::inline_size, over-aligned, or its move may throw");
  static_assert(late || std::is_constructible_v<Fn, early_source>,
                "fanout: the move of this move-only task may throw; wrap it, for example in a "
                "lambda that holds a std::unique_ptr");
  static_assert(noexcept(context::capture()) && std::is_nothrow_move_constructible_v<context>,
                "fanout: Policy::context must capture and move without throwing");

 public:
  /// Whether the constructor copies nothing and captures nothing.
  static constexpr bool is_trivial = fits && late && std::derived_from<context, absent>;

  parcel(object& source, const source_location& where)
      : source_(source), where_(where), early_(prepare(source)) {
    check_discard<Fn>();
  }

  void place(slot<Policy>& in) noexcept {
    if constexpr (fits && late) {
      ::new (in.storage) Fn(static_cast<Source>(source_));
    } else if constexpr (fits) {
      ::new (in.storage) Fn(std::move(early_));
    } else {
      if constexpr (late) early_->emplace(static_cast<Source>(source_));
      ::new (in.storage) box<Fn>(std::move(early_));
    }
    in.execute = &operation<Policy, Fn>::execute;
    in.where = where_;
    in.context.put(std::move(context_));
    if constexpr (Policy::timed) in.accepted_at = std::chrono::steady_clock::now();
  }

 private:
  static auto prepare(object& source) {
    if constexpr (fits && late) {
      return absent{};
    } else if constexpr (fits) {
      return Fn(static_cast<early_source>(source));
    } else {
      auto early = std::make_unique<std::optional<Fn>>();
      if constexpr (!late) early->emplace(static_cast<early_source>(source));
      return early;
    }
  }

  object& source_;
  const source_location& where_;
  [[no_unique_address]] decltype(prepare(std::declval<object&>())) early_;
  context context_ = context::capture();  // no attribute: g++ 12 fails on it at -O0
};

/// Whose tasks they are: a pool's, or a group's of it.
class task_owner {
 public:
  virtual std::stop_token token() = 0;
  virtual void report(const source_location& where) = 0;      // the exception being handled
  virtual void complain(const char* who) const noexcept = 0;  // of it, to stderr
  virtual insiders& inside() noexcept = 0;

 protected:
  ~task_owner() = default;
};

/// One task on its way out of the slot at `at`: whose it is, and what becomes of it.
template <class Policy> struct execution {
  using tasks = ring_of<Policy>;
  using waiters = room_waiters<typename Policy::sync>;

  task_owner& owner;
  tasks& from;
  typename tasks::position at;
  waiters* room;  // null: the slot is not vacated; emptied() tells what else
  source_location where;
  bool discards;  // drops the task instead of running it
  bool failed = false;

  execution(task_owner& of, tasks& ring, typename tasks::position position, waiters* told,
            const slot<Policy>& s, bool drops) noexcept
      : owner(of), from(ring), at(position), room(told), where(s.where), discards(drops) {}

  void vacate(slot<Policy>& s) noexcept {
    if (room == nullptr) return emptied(s);
    from.vacate(s, at);
    room->notify_not_full();
  }
  virtual void emptied(slot<Policy>&) noexcept {}

  void fail() {
    failed = true;
    owner.report(where);
  }

 protected:
  ~execution() = default;
};

/// An execution of nothing special.
template <class Policy> struct plain_execution final : execution<Policy> {
  using execution<Policy>::execution;
};

/// The task of submit(), and what submit() makes it from.
template <class F, class Result> struct promise_source {
  std::promise<Result>& promise;
  F& f;
};

template <class Fn, class Result> struct promised_task {
  static_assert((check_discard<Fn>(), true));
  std::promise<Result> promise;
  Fn fn;

  template <class F>
  explicit promised_task(promise_source<F, Result>&& s) noexcept(
      std::is_nothrow_constructible_v<Fn, F&&>)
      : promise(std::move(s.promise)), fn(static_cast<F&&>(s.f)) {}
  template <class F>
    requires std::is_constructible_v<Fn, const F&>
  explicit promised_task(const promise_source<F, Result>& s)
      : promise(std::move(s.promise)), fn(static_cast<const F&>(s.f)) {}

  template <class... Token>
    requires std::is_invocable_v<Fn, Token...>
  Result operator()(Token... token) && {
    return std::invoke(std::move(fn), std::move(token)...);
  }
};

template <class Fn> inline constexpr bool keeps_promise = false;
template <class Fn, class Result>
inline constexpr bool keeps_promise<promised_task<Fn, Result>> = true;

template <class Fn> Fn& unwrap(Fn& task) noexcept { return task; }
template <class Fn> Fn& unwrap(box<Fn>& task) noexcept { return **task; }

template <class Fn> decltype(auto) call(Fn& task, task_owner& owner) {
  if constexpr (wants_token<Fn>) {
    return std::invoke(std::move(task), owner.token());
  } else {
    return std::invoke(std::move(task));
  }
}

template <class Fn> void tell_discarded(Fn& task) {
  if constexpr (is_told<Fn>) task.discard();
}
template <class Fn, class Result> void tell_discarded(promised_task<Fn, Result>& task) {
  tell_discarded(task.fn);
}

/// The operation of a slot that holds an Fn, or a box with one. The slot is free before the task
/// runs or is dropped; the task is destroyed inside its context's scope.
template <class Policy, class Fn> class operation {
  using held = std::conditional_t<fits_slot<Policy, Fn>, Fn, box<Fn>>;
  using context = context_of<Policy>;
  static constexpr bool has_context = !std::derived_from<context, absent>;

 public:
  /// Runs or drops the task; its exceptions end here.
  static void execute(slot<Policy>& from, execution<Policy>& by) {
    if constexpr (keeps_promise<Fn>) {
      keep_promise(from, by);
    } else if (by.discards) {
      drop(from, by);
    } else if constexpr (Policy::on_exception == on_exception::terminate) {
      static_cast<void>(run(from, by));
    } else {
      FANOUT_TRY {
        if constexpr (has_context) {
          run_in_context(from, by);
        } else {
          FANOUT_TRY { static_cast<void>(run(from, by)); }
          FANOUT_CATCH_ALL { by.fail(); }
        }
      }
      FANOUT_CATCH_ALL { by.owner.complain(at_the_end_of_a_handler); }
    }
  }

 private:
  static constexpr const char* at_the_end_of_a_handler = "the destructor of what a task threw";

  static held& in(slot<Policy>& from) noexcept {
    return *std::launder(reinterpret_cast<held*>(from.storage));
  }

  static held take(slot<Policy>& from, execution<Policy>& by) noexcept {
    held task(std::move(in(from)));
    std::destroy_at(std::addressof(in(from)));
    by.vacate(from);
    return task;
  }

  static decltype(auto) run(slot<Policy>& from, execution<Policy>& by) {
    [[maybe_unused]] context carried = from.context.take();
    if constexpr (has_context) {
      held taken = take(from, by);
      struct unless_entered {
        held& task;
        bool entered = false;
        ~unless_entered() {
          if (!entered) tell_discarded(unwrap(task));
        }
      } told{taken};
      [[maybe_unused]] const auto scope = carried.enter();
      told.entered = true;
      held task(std::move(taken));
      return call(unwrap(task), by.owner);
    } else {
      held task = take(from, by);
      return call(unwrap(task), by.owner);
    }
  }

  /// The handler runs inside the scope too, so that it sees the context. A task whose context could
  /// not be entered has failed, and is told so.
  static void run_in_context(slot<Policy>& from, execution<Policy>& by) {
    context carried = from.context.take();
    held taken = take(from, by);
    bool entered = false;
    FANOUT_TRY {
      [[maybe_unused]] const auto scope = carried.enter();
      entered = true;
      FANOUT_TRY {
        held task(std::move(taken));
        static_cast<void>(call(unwrap(task), by.owner));
      }
      FANOUT_CATCH_ALL { by.fail(); }
    }
    FANOUT_CATCH_ALL {
      if (entered) {
        by.owner.complain(at_the_end_of_a_handler);
      } else {
        by.fail();
      }
    }
    if (!entered) tell_discarded(unwrap(taken));
  }

  static void drop(slot<Policy>& from, execution<Policy>& by) {
    std::optional<insiders::visit> here;
    if constexpr (has_context || is_told<Fn> || !std::is_trivially_destructible_v<Fn>) {
      here.emplace(by.owner.inside(), Policy::sync::this_thread());
    }
    [[maybe_unused]] context carried = from.context.take();
    [[maybe_unused]] held taken = take(from, by);
    [[maybe_unused]] bool entered = !has_context;
    FANOUT_TRY {
      if constexpr (has_context) {
        [[maybe_unused]] const auto scope = carried.enter();
        entered = true;
        held task(std::move(taken));
        tell_discarded(unwrap(task));
      } else {
        tell_discarded(unwrap(taken));
      }
    }
    FANOUT_CATCH_ALL {
      if (entered) {
        by.fail();  // a coroutine that went on and threw
      } else {
        by.owner.complain("Policy::context::enter");
      }
    }
    if (!entered) tell_discarded(unwrap(taken));
  }

#if defined(__cpp_exceptions)
  /// The outcome goes to the future when the task and its scope are gone.
  static void keep_promise(slot<Policy>& from, execution<Policy>& by) {
    auto promise = std::move(unwrap(in(from)).promise);
    try {
      if (by.discards) {
        drop(from, by);
        throw std::system_error(make_error_code(errc::canceled));
      }
      if constexpr (std::is_void_v<decltype(run(from, by))>) {
        run(from, by);
        promise.set_value();
      } else {
        promise.set_value(run(from, by));
      }
    } catch (...) {
      by.failed = !by.discards;
      promise.set_exception(std::current_exception());
    }
  }
#endif
};

/// Runs or drops the task of a slot.
template <class Policy> void execute(slot<Policy>& from, execution<Policy>& by) {
  if constexpr (Policy::on_exception == on_exception::terminate) {
    struct end_of_program {
      bool returned = false;
      ~end_of_program() {
        if (!returned) std::terminate();
      }
    } end;
    from.execute(from, by);  // no handler and no noexcept frame below the task
    end.returned = true;
  } else {
    from.execute(from, by);
  }
}

/// Writes one line about the exception being handled to stderr: who threw it, of which worker.
inline void complain(const std::string& pool, std::size_t worker, const char* who,
                     const source_location* where = nullptr) noexcept {
  [[maybe_unused]] const auto print = [&](const char* reason) {
    char place[1024] = "", by[32] = "no worker", text[2048];
    if (worker != no_worker) std::snprintf(by, sizeof by, "worker %zu", worker);
    if (where != nullptr) {
      std::snprintf(place, sizeof place, " submitted at %s:%u", where->file_name(),
                    static_cast<unsigned>(where->line()));
    }
    const int size = std::snprintf(text, sizeof text, "fanout: pool \"%.99s\", %s: %s%s threw: %s",
                                   pool.c_str(), by, who, place, reason);
    const std::size_t end = size < 0 ? 0 : smaller(static_cast<std::size_t>(size), sizeof text - 1);
    for (std::size_t i = 0; i < end; ++i) text[i] = text[i] == '\n' ? ' ' : text[i];
    text[end] = '\n';
    write_to_stderr(text, end + 1);
  };
#if defined(__cpp_exceptions)
  try {
    throw;
  } catch (const std::exception& e) {
    print(e.what());
  } catch (const std::string& text) {
    print(text.c_str());
  } catch (const char* text) {
    print(text != nullptr ? text : "a null const char*");
  } catch (...) {
    print("something that is not a std::exception");
  }
#endif
}

}  // namespace detail

// ---------------------------------------------------------------------------------------------
// Counters and times

namespace detail {

/// A counter with one writer.
template <class Sync> class counter {
 public:
  void add() noexcept {
    // Relaxed: nobody else writes it.
    value_.store(value_.load(relaxed) + 1, release);  // (4)
  }
  /// The same, where there are several writers.
  void add_shared() noexcept { value_.fetch_add(1, release); }         // (4)
  std::uint64_t get() const noexcept { return value_.load(acquire); }  // (4)

 private:
  typename Sync::template atomic<std::uint64_t> value_{0};
};

/// A value with one writer and any readers: a sequence lock. While the version is odd, the value is
/// being written.
template <class Sync, class T> class seqlock {
  template <class U> using atomic = typename Sync::template atomic<U>;
  using words = std::array<std::uintptr_t, sizeof(T) / sizeof(std::uintptr_t)>;

 public:
  void write(const T& value) noexcept {
    const auto image = std::bit_cast<words>(value);
    const std::uint32_t even = version_.load(relaxed);
    version_.store(even + 1, relaxed);  // stays before the next store, which releases
    for (std::size_t i = 0; i < image.size(); ++i) words_[i].store(image[i], release);  // (10)
    version_.store(even + 2, release);                                                  // (10)
  }

  /// Nothing where the writer stays in its few stores, as one that is displaced does: whoever
  /// displaced it does not wait for it.
  std::optional<T> read() const noexcept {
    for (unsigned tries = 0; tries < max_tries; ++tries, Sync::pause()) {
      words image{};
      const std::uint32_t before = version_.load(acquire);                                // (10)
      for (std::size_t i = 0; i < image.size(); ++i) image[i] = words_[i].load(acquire);  // (10)
      // Relaxed: stays behind those loads, which acquire.
      if (before % 2 == 0 && version_.load(relaxed) == before) return std::bit_cast<T>(image);
    }
    return std::nullopt;
  }

 private:
  static constexpr unsigned max_tries = 64;
  atomic<std::uint32_t> version_{0};
  std::array<atomic<std::uintptr_t>, std::tuple_size_v<words>> words_{};
};

/// The task that a worker runs; while `since` is the clock's epoch, none.
struct shown_task {
  steady_time since;
  source_location where;
};

template <class Sync> struct worker_times {
  std::array<counter<Sync>, 64> waited, ran;  // by histogram::bucket_of
  seqlock<Sync, shown_task> shown;
};

/// What one worker counts, and the task that it runs. One writer; others read at any time.
template <class Policy>
struct alignas(line_pair) worker_record
    : std::conditional_t<Policy::timed, worker_times<typename Policy::sync>, absent> {
  counter<typename Policy::sync> completed, failed, discarded;
  typename Policy::sync::template atomic<bool> dirty{
      false};  // in a run of tasks, its hook included
};

/// Shows a task in its worker's record while this lives, then what that showed before; counts its
/// times from `accepted_at` on, if it is given. A record of no worker has several writers, and
/// shows nothing.
template <class Policy> class timed_run {
  using record = worker_record<Policy>;
  using clock = std::chrono::steady_clock;

 public:
  timed_run(record& of, bool is_worker, const source_location& where,
            std::optional<steady_time> accepted_at) noexcept
      : record_(of), is_worker_(is_worker), counts_(accepted_at) {
    if (is_worker_) {
      outer_ = of.shown.read().value_or(shown_task{});  // this thread writes it
      of.shown.write({began_, where});
    }
    if (counts_) count(of.waited, began_ - *accepted_at);
  }
  ~timed_run() {
    if (is_worker_) record_.shown.write(outer_);
    if (counts_) count(record_.ran, clock::now() - began_);
  }
  timed_run(const timed_run&) = delete;
  timed_run& operator=(const timed_run&) = delete;

 private:
  void count(auto& buckets, std::chrono::nanoseconds time) noexcept {
    auto& bucket = buckets[histogram::bucket_of(time)];
    is_worker_ ? bucket.add() : bucket.add_shared();
  }

  record& record_;
  const bool is_worker_, counts_;
  const steady_time began_ = clock::now();
  shown_task outer_{};
};

}  // namespace detail

// ---------------------------------------------------------------------------------------------
// Help for groups

namespace detail {

/// A place in a circular list.
struct links {
  links *next = this, *previous = this;

  links() noexcept = default;
  links(const links&) = delete;
  links& operator=(const links&) = delete;

  void join_before(links& other) noexcept {
    previous = other.previous;
    next = &other;
    previous->next = other.previous = this;
  }
  void leave() noexcept {
    previous->next = next;
    next->previous = previous;
    next = previous = this;
  }
};

/// Where the workers of a pool find its groups that have unstarted tasks, beside the ring.
///
/// A group is off (it has none), listed (workers help it in turn), or stalled (it has some, and as
/// many run as its limit lets). It is busy from its first listing until it is off and nobody helps.
/// Visitors hold references, so that a group may end while they leave it.
///
/// Invariant: a group that has an unstarted task is listed or stalled, or somebody is about to
/// look: the submitter, who claims and then reads the place; whoever changes the place, who looks
/// for claims afterwards (F); whoever gives back a place under the limit (J).
template <class Sync> class help_desk {
  template <class T> using atomic = typename Sync::template atomic<T>;
  using lock = std::lock_guard<typename Sync::mutex>;
  struct live_links : links {};
  struct listed_links : links {};

 public:
  enum place : std::uint32_t { off, listed, stalled };

  /// What a group's tasks came to. At rest begun == ended.
  struct totals {
    std::uint64_t begun = 0, ended = 0, failed = 0, skipped = 0;
  };

  /// A group, as the workers see it.
  class member : live_links, listed_links {
   public:
    place where() const noexcept { return place_.load(seq_cst); }  // (F) (J)

    virtual bool has_unstarted() const noexcept = 0;  // claimed and not taken
    virtual bool may_start() const noexcept = 0;      // below its limit, or it skips
    virtual bool help(std::size_t worker) = 0;        // runs some; whether it ran, not skipped, one
    virtual void skip() noexcept = 0;                 // what it has now
    virtual void shut() noexcept = 0;                 // the pool is closed
    virtual totals count() const noexcept = 0;
    virtual bool is_run_by(std::thread::id who) const noexcept = 0;
    virtual ~member() = default;  // by the desk, when nobody refers to it

   private:
    friend help_desk;
    atomic<place> place_{off};
    // Under the desk's mutex.
    unsigned references_ = 1;  // of the owner and of the visitors
    unsigned visitors_ = 0;
    bool is_busy_ = false;
    bool was_skipped_ = false;
  };

  bool is_asked() const noexcept { return listed_.load(seq_cst) != 0; }  // (A) (B) (G)

  /// Busy spells that have begun and ended; over with the last worker.
  std::uint64_t begun() const noexcept { return begun_.load(seq_cst); }
  std::uint64_t ended() const noexcept { return ended_.load(seq_cst); }
  bool is_over() const noexcept { return is_over_.load(seq_cst); }
  void end() noexcept { is_over_.store(true, seq_cst); }

  void enrol(member& m) noexcept {
    const lock hold(mutex_);  // (9)
    static_cast<live_links&>(m).join_before(live_);
    if (is_shut_) m.shut();
  }

  /// What a change of a group's place asks for.
  struct change {
    bool is_listed = false;   // a worker is to be woken
    bool ends_spell = false;  // somebody may wait for that
  };

  /// Puts the group in its place.
  change update(member& m) noexcept {
    const lock hold(mutex_);  // (9)
    place_anew(m);
    return {m.place_.load(relaxed) == listed, settle(m)};  // relaxed: under the mutex
  }

  /// The next group that is listed, for leave(); null: none is.
  member* visit() noexcept {
    const lock hold(mutex_);  // (9)
    if (list_.next == &list_) return nullptr;
    auto& first = static_cast<listed_links&>(*list_.next);
    first.leave();
    first.join_before(list_);
    return &enter(static_cast<member&>(first));
  }

  /// The next group that has unstarted tasks and was not given out by this before.
  member* visit_to_skip() noexcept {
    const lock hold(mutex_);  // (9)
    for (links* at = live_.next; at != &live_; at = at->next) {
      auto& m = static_cast<member&>(static_cast<live_links&>(*at));
      if (!m.has_unstarted() || std::exchange(m.was_skipped_, true)) continue;
      return &enter(m);
    }
    return nullptr;
  }

  /// Whether a busy spell ended with it. The group may be gone afterwards.
  bool leave(member& m) noexcept {
    std::unique_lock hold(mutex_);  // (9)
    --m.visitors_;
    place_anew(m);
    return drop(m, hold);
  }

  /// The owner goes, when every task has ended; as leave().
  bool retire(member& m) noexcept {
    std::unique_lock hold(mutex_);  // (9)
    add(retired_, m.count());
    static_cast<live_links&>(m).leave();
    put(m, off);
    return drop(m, hold);
  }

  /// Groups that run on workers only accept nothing more. Whether a busy spell ended.
  bool shut() noexcept {
    const lock hold(mutex_);  // (9)
    is_shut_ = true;
    bool ends_spell = false;
    for_each([&](member& m) {
      m.shut();
      place_anew(m);  // a task is not forgotten whose submitter has not come to list it
      ends_spell = settle(m) || ends_spell;
    });
    return ends_spell;
  }

  totals count() const noexcept {
    const lock hold(mutex_);  // (9)
    totals sum = retired_;
    for_each([&](const member& m) { add(sum, m.count()); });
    return sum;
  }
  /// Visitors of groups that are there.
  std::size_t visitors() const noexcept {
    const lock hold(mutex_);  // (9)
    std::size_t sum = 0;
    for_each([&](const member& m) { sum += m.visitors_; });
    return sum;
  }
  bool is_anything_run_by(std::thread::id who) const noexcept {
    const lock hold(mutex_);  // (9)
    bool found = false;
    for_each([&](const member& m) { found = found || m.is_run_by(who); });
    return found;
  }

 private:
  template <class Visit> void for_each(Visit visit) const {
    for (links* at = live_.next; at != &live_; at = at->next) {
      visit(static_cast<member&>(static_cast<live_links&>(*at)));
    }
  }
  static void add(totals& sum, const totals& more) noexcept {
    sum.begun += more.begun;
    sum.ended += more.ended;
    sum.failed += more.failed;
    sum.skipped += more.skipped;
  }

  member& enter(member& m) noexcept {
    ++m.visitors_;
    ++m.references_;
    return m;
  }
  bool drop(member& m, std::unique_lock<typename Sync::mutex>& hold) noexcept {
    const bool ends = settle(m);
    const bool is_last = --m.references_ == 0;
    hold.unlock();
    if (is_last) delete &m;
    return ends;
  }

  /// Ends a busy spell, if it is over.
  bool settle(member& m) noexcept {
    const bool ends = m.is_busy_ && m.visitors_ == 0 && m.place_.load(relaxed) == off;
    if (!ends) return false;
    m.is_busy_ = false;
    ended_.store(ended_.load(relaxed) + 1, seq_cst);  // relaxed: under the mutex
    return true;
  }

  /// Each change is followed by a look whether it was right.
  void place_anew(member& m) noexcept {
    for (;;) {
      if (!m.has_unstarted()) {
        put(m, off);
        if (!m.has_unstarted()) return;  // (F)
      } else if (!m.may_start()) {
        put(m, stalled);
        if (!m.may_start()) return;  // (J)
      } else {
        return put(m, listed);
      }
    }
  }
  void put(member& m, place now) noexcept {
    const place before = m.place_.load(relaxed);  // relaxed: under the mutex
    if (before == now) return;
    if (now != off && !std::exchange(m.is_busy_, true)) {
      begun_.store(begun_.load(relaxed) + 1, seq_cst);
    }
    m.place_.store(now, seq_cst);  // (F) (J)
    const std::uint32_t length = listed_.load(relaxed);
    if (now == listed) {
      static_cast<listed_links&>(m).join_before(list_);
      listed_.store(length + 1, seq_cst);  // (A) (B) (G)
    } else if (before == listed) {
      static_cast<listed_links&>(m).leave();
      listed_.store(length - 1, seq_cst);
    }
  }

  atomic<std::uint32_t> listed_{0};  // the length of list_
  atomic<std::uint64_t> begun_{0}, ended_{0};
  atomic<bool> is_over_{false};
  // Under the mutex.
  mutable typename Sync::mutex mutex_;
  mutable live_links live_;
  listed_links list_;
  totals retired_;
  bool is_shut_ = false;
};

}  // namespace detail

// ---------------------------------------------------------------------------------------------
// The pool

namespace detail {

/// Throws, or without exceptions prints and aborts.
[[noreturn]] inline void refuse_option(const char* option, const std::string& value,
                                       const char* limits) {
  const std::string text =
      std::string("fanout: options::") + option + " is " + value + "; it must be " + limits;
#if defined(__cpp_exceptions)
  throw std::invalid_argument(text);
#else
  std::fprintf(stderr, "%s\n", text.c_str());
  std::abort();
#endif
}

template <class Pool> struct schedule_awaiter;
template <class Policy> class group_state;

}  // namespace detail

/// A fixed set of workers on a bounded queue. Neither copies nor moves.
/// Thread safety: every member but the destructor, from any thread, tasks included, at any time.
template <class Policy = default_policy> class basic_pool;
template <class Policy = default_policy> class basic_group;
using pool = basic_pool<>;
using group = basic_group<>;

template <class Policy> class basic_pool {
  using sync = typename Policy::sync;
  using ring = detail::ring_of<Policy>;
  using position = typename ring::position;
  using help_desk = detail::help_desk<sync>;

 public:
  /// Starts the workers; they inherit this thread's signal mask and are named "name/0" and so on.
  /// Throws: std::invalid_argument naming the option, its value and the limit; std::system_error
  /// when a thread cannot start, after ending those that did; std::bad_alloc.
  explicit basic_pool(options opts = {});

  /// As close(). Aborts with a message on a worker of this pool and inside its closing.
  ~basic_pool();

  basic_pool(const basic_pool&) = delete;
  basic_pool& operator=(const basic_pool&) = delete;

  // --- Submission
  //
  // A callable is called once, as a rvalue, with a std::stop_token if it takes one; what it returns
  // is ignored. A rvalue is moved from only when accepted; of a lvalue a copy may have been made
  // and dropped. Refusals, in this order: empty_task; closed; (acceptance); would_deadlock, where a
  // worker of this pool would have to block; canceled or timed_out. Throws what copying or boxing
  // the callable throws; then nothing was accepted. Progress: a thread that stalls inside its few
  // instructions on the slot next in order holds up the others, who find the buffer full.

  /// Submits `f`, or says `full`: at some instant in the call the slot next in order was waiting,
  /// being filled or being emptied. Never blocks.
  template <detail::callable F>
  [[nodiscard]] std::error_code try_do(F&& f, source_location where = source_location::current()) {
    if (detail::is_empty_task(f)) return make_error_code(errc::empty_task);
    detail::parcel<Policy, std::decay_t<F>, F&&> parcel(f, where);
    return answer(offer(parcel, whenever));
  }

  /// Submits `f`. Blocks while the buffer is full. Blocked callers are not served in order.
  template <detail::callable F>
  [[nodiscard]] std::error_code do_wait(F&& f, source_location where = source_location::current()) {
    return do_until<F&&>([] { return detail::no_deadline; }, {}, f, where);
  }

  /// The same; a stop request ends the wait.
  template <detail::callable F>
  [[nodiscard]] std::error_code do_wait(F&& f, const std::stop_token& stop,
                                        source_location where = source_location::current()) {
    return do_until<F&&>([] { return detail::no_deadline; }, stop, f, where);
  }

  /// The same, blocking for `duration` at most. Saturates: hours::max() is forever.
  template <detail::callable F>
  [[nodiscard]] std::error_code try_do_for(const detail::duration auto& duration, F&& f,
                                           source_location where = source_location::current()) {
    return do_until<F&&>([&] { return detail::deadline_after(duration); }, {}, f, where);
  }

  /// The same, blocking until `deadline` at most. Its clock is read once; steady_clock waits.
  template <detail::callable F>
  [[nodiscard]] std::error_code try_do_until(const detail::time_point auto& deadline, F&& f,
                                             source_location where = source_location::current()) {
    return do_until<F&&>([&] { return detail::deadline_at(deadline); }, {}, f, where);
  }

  /// Submits `f`; when the buffer is full, discards the oldest waiting task, which is counted, and
  /// told on this thread once `f` is in, and takes its place. Never blocks. Refuses with `full`,
  /// and discards nothing, only while another call fills or empties that very slot. If the pool is
  /// closed in the middle of the call, the oldest may be discarded all the same.
  template <detail::callable F>
  [[nodiscard]] std::error_code do_evict(F&& f,
                                         source_location where = source_location::current()) {
    if (detail::is_empty_task(f)) return make_error_code(errc::empty_task);
    detail::parcel<Policy, std::decay_t<F>, F&&> parcel(f, where);
    return answer(offer_evicting(parcel));
  }

  /// Submits a prefix of `tasks`, each as the range's reference type, and says how long it is and
  /// why it ended. Never blocks. A sized forward range whose elements construct without throwing is
  /// claimed in one step and costs one wake at most; others go one by one, and what was accepted
  /// before an exception stays accepted.
  template <class Range>
    requires detail::callable<detail::reference_of<Range>>
  [[nodiscard]] bulk_result try_do_bulk(Range&& tasks,
                                        source_location where = source_location::current());

#if defined(__cpp_exceptions)
  /// Submits `f` and returns the future of its result. Its exception goes to the future, not to
  /// on_error; a refusal, or `canceled` when it is discarded, arrives there as std::system_error.
  /// Never blocks: in a loop, prefer submit_wait. Throws: std::bad_alloc for the shared state.
  template <detail::callable F>
  [[nodiscard]] auto submit(F&& f, source_location where = source_location::current()) {
    return promise<F&&>(f, where, [this](auto& task) { return this->offer(task, at_once); });
  }

  /// The same, blocking as do_wait, try_do_for and try_do_until do.
  template <detail::callable F>
  [[nodiscard]] auto submit_wait(F&& f, source_location where = source_location::current()) {
    return submit_wait(std::forward<F>(f), std::stop_token(), where);
  }
  template <detail::callable F>
  [[nodiscard]] auto submit_wait(F&& f, const std::stop_token& stop,
                                 source_location where = source_location::current()) {
    return promise<F&&>(f, where, [&](auto& task) {
      return offer_until([] { return detail::no_deadline; }, stop, task, at_once);
    });
  }
  template <detail::callable F>
  [[nodiscard]] auto submit_for(const detail::duration auto& duration, F&& f,
                                source_location where = source_location::current()) {
    return promise<F&&>(f, where, [&](auto& task) {
      return offer_until([&] { return detail::deadline_after(duration); }, {}, task, at_once);
    });
  }
  template <detail::callable F>
  [[nodiscard]] auto submit_until(const detail::time_point auto& deadline, F&& f,
                                  source_location where = source_location::current()) {
    return promise<F&&>(f, where, [&](auto& task) {
      return offer_until([&] { return detail::deadline_at(deadline); }, {}, task, at_once);
    });
  }
#else
  template <class F> auto submit(F&&, source_location = {}) { return needs_exceptions<F>(); }
  template <class F, class... Rest> auto submit_wait(F&&, const Rest&...) {
    return needs_exceptions<F>();
  }
  template <class F> auto submit_for(const detail::duration auto&, F&&, source_location = {}) {
    return needs_exceptions<F>();
  }
  template <class F> auto submit_until(const detail::time_point auto&, F&&, source_location = {}) {
    return needs_exceptions<F>();
  }
#endif

  /// `co_await pool.schedule()` goes on as a task on a worker and yields success; when refused, at
  /// once on the caller with the refusal; when discarded, on a closing thread or a worker with
  /// canceled.
  [[nodiscard]] auto schedule(source_location where = source_location::current()) noexcept {
    return detail::schedule_awaiter<basic_pool>(*this, where);
  }

  // --- Waiting and closing

  /// Blocks until an instant at which nothing waits or runs. On a worker: would_deadlock.
  std::error_code wait_idle() { return idle_until(detail::no_deadline); }

  /// The same, blocking for `duration` or until `deadline` at most, then timed_out.
  [[nodiscard]] std::error_code wait_idle_for(const detail::duration auto& duration) {
    return idle_until(detail::deadline_after(duration));
  }
  [[nodiscard]] std::error_code wait_idle_until(const detail::time_point auto& deadline) {
    return idle_until(detail::deadline_at(deadline));
  }

  /// Accepts no more, runs all that was accepted, joins the workers. Blocks until then. A further
  /// call blocks until the first has finished and answers closed. On a worker of this pool, in its
  /// stop callbacks and discarded captures, and as the last of pools that close each other: closes
  /// and answers would_deadlock at once; the pool drains, and the first close from elsewhere joins
  /// and has its own result.
  std::error_code close() { return close_by(detail::no_deadline, {}); }

  /// The same, draining for `duration` or until `deadline` at most; then requests stop, discards
  /// the waiting tasks and joins the running ones, however long they take, and answers timed_out.
  /// A further call shortens the deadline in force.
  [[nodiscard]] std::error_code close_for(const detail::duration auto& duration) {
    return close_by(detail::deadline_after(duration), {});
  }
  [[nodiscard]] std::error_code close_until(const detail::time_point auto& deadline) {
    return close_by(detail::deadline_at(deadline), {});
  }

  /// The same, draining until `stop` is requested, on which it goes on as after a deadline and
  /// answers canceled. A further call's token cuts the drain in force too.
  [[nodiscard]] std::error_code close(const std::stop_token& stop) {
    return close_by(detail::no_deadline, stop);
  }

  /// Discards the tasks accepted before the call that still wait, oldest first, up to the first
  /// place that another call is still filling, and none accepted later; says how many. The pool
  /// goes on. Never blocks.
  std::size_t purge() { return inheritance_.is_foreign() ? 0 : discard_before(ring_.end()); }

  /// Accepts no more and fires the tasks' stop tokens; waiting tasks still run. Blocks only in the
  /// stop callbacks that it calls.
  void request_stop();

  // --- Observers

  std::string_view name() const noexcept { return options_.name; }
  std::size_t workers() const noexcept { return options_.workers; }
  std::size_t capacity() const noexcept { return options_.buffer; }
  std::size_t size() const noexcept { return stats().queued; }  ///< tasks waiting, none running
  bool is_closed() const noexcept { return ring_.is_closed(); }
  std::stop_token get_stop_token() const noexcept { return stop_.get_token(); }  ///< the tasks'
  std::conditional_t<Policy::timed, timed_stats, fanout::stats> stats() const noexcept;

 private:
  friend class detail::group_state<Policy>;
  friend class basic_group<Policy>;
  friend struct detail::schedule_awaiter<basic_pool>;

  using execution = detail::plain_execution<Policy>;

  struct owner final : detail::task_owner {
    basic_pool& pool;
    explicit owner(basic_pool& of) noexcept : pool(of) {}
    std::stop_token token() override { return pool.stop_.get_token(); }
    void report(const source_location& where) override { pool.report(pool.this_worker(), where); }
    void complain(const char* who) const noexcept override {
      detail::complain(pool.options_.name, pool.this_worker(), who);
    }
    detail::insiders& inside() noexcept override { return pool.insiders_; }
  };

  static constexpr errc accepted{};
  static constexpr bool whenever = false, at_once = true;  // whether a task waits for company

  static options checked(options opts) {
    if (opts.workers - 1 >= 32767) {
      detail::refuse_option("workers", detail::decimal(opts.workers), "1 to 32767");
    }
    if (opts.buffer - 1 >= 2147483647) {
      detail::refuse_option("buffer", detail::decimal(opts.buffer), "1 to 2147483647");
    }
    constexpr std::chrono::nanoseconds hour = std::chrono::hours(1);
    if (opts.wake_delay < hour.zero() || opts.wake_delay > hour) {
      detail::refuse_option("wake_delay", detail::decimal(opts.wake_delay.count()) + " ns",
                            "0 to 3600000000000 ns");
    }
    if (opts.name.empty()) opts.name = "anonymous";
    return opts;
  }

  template <class Parcel> errc offer(Parcel& parcel, bool is_urgent) noexcept {
    return fill(ring_.claim_back(1), parcel, is_urgent);
  }
  template <class Parcel>
  errc fill(const typename ring::claim& claimed, Parcel& parcel, bool is_urgent) noexcept {
    if (claimed.count == 0) return claimed.why;
    auto& slot = ring_.at(claimed.first);
    parcel.place(slot);
    ring_.publish(slot, claimed.first);
    idle_.notify(claimed.first, is_urgent);
    return accepted;
  }

#if defined(__cpp_exceptions)
  template <class Source, class Offer>
  auto promise(std::remove_reference_t<Source>& f, const source_location& where, Offer offer);
#else
  template <class F> static void needs_exceptions() {
    static_assert(!sizeof(F*), "fanout: submit needs exceptions");
  }
#endif

  template <class Parcel> errc offer_evicting(Parcel& parcel) noexcept;

  template <class F> std::error_code submit_at_once(F&& f, const source_location& where) {
    detail::parcel<Policy, F, F&&> parcel(f, where);
    return answer(offer(parcel, at_once));
  }

  std::error_code answer(errc why) noexcept {
    if (why == errc::full) [[unlikely]] {
      rejected_.fetch_add(1, detail::relaxed);  // a counter that publishes nothing
    }
    return make_error_code(why);
  }

  template <class Source, class Deadline>
  std::error_code do_until(Deadline deadline, const std::stop_token& stop,
                           std::remove_reference_t<Source>& f, const source_location& where) {
    if (detail::is_empty_task(f)) return make_error_code(errc::empty_task);
    detail::parcel<Policy, std::decay_t<Source>, Source> parcel(f, where);
    return make_error_code(offer_until(deadline, stop, parcel, whenever));
  }

  /// `deadline` is asked for when the buffer is full, so that no clock is read when it is not.
  template <class Deadline, class Parcel>
  errc offer_until(Deadline deadline, const std::stop_token& stop, Parcel& parcel, bool is_urgent) {
    const errc answer = offer(parcel, is_urgent);
    if (answer != errc::full) [[likely]]
      return answer;
    return wait_for_room(deadline(), stop, parcel, is_urgent);
  }
  template <class Parcel>
  errc wait_for_room(detail::steady_time deadline, const std::stop_token& stop, Parcel& parcel,
                     bool is_urgent);

  // In a forked child no lock is taken that another thread may have held.
  bool is_inside() const noexcept {
    if (inheritance_.is_foreign()) return false;
    const auto who = sync::this_thread();
    return insiders_.contains(who) || help_.is_anything_run_by(who);
  }
  /// The index of the worker that this thread is, or no_worker.
  std::size_t this_worker() const noexcept { return insiders_.worker(sync::this_thread()); }

  void add_groups(fanout::stats& to) const noexcept;

  template <class Token> struct duties;
  template <class Token> void serve(std::size_t index, const Token& stop);

  /// Reports the exception being handled.
  void report(std::size_t worker, const source_location& where) {
    if (!options_.on_error) {
      return detail::complain(options_.name, worker, "a task", &where);
    }
    FANOUT_TRY { options_.on_error({std::current_exception(), options_.name, worker, where}); }
    FANOUT_CATCH_ALL { detail::complain(options_.name, worker, "on_error"); }
  }

  void call_hook(const std::function<void(std::size_t)>& hook, const char* name,
                 std::size_t index) {
    FANOUT_TRY {
      if (hook) hook(index);
    }
    FANOUT_CATCH_ALL { detail::complain(options_.name, index, name); }
  }

  /// Tasks that have ended.
  std::uint64_t finished() const noexcept {
    std::uint64_t sum = discarded_.load(detail::seq_cst);  // (I)
    for (std::size_t i = 0; i < options_.workers; ++i) {
      sum += records_[i].completed.get() + records_[i].failed.get() + records_[i].discarded.get();
    }
    return sum;
  }

  /// Whether nothing waits or runs, hooks included. What has ended is counted before what was
  /// accepted, and was never more; so if it equals its later value, they were equal when that was
  /// read, and nobody began a run in between. The first look at the marks brings what the cleared
  /// ones count, the second says that no hook goes on.
  bool is_idle() const noexcept {
    if (!nobody_runs()) return false;
    const std::uint64_t done = finished();
    const std::uint64_t helped = help_.ended();
    return nobody_runs() && (helped == help_.begun() || help_.is_over()) && done == ring_.pushed();
  }
  bool nobody_runs() const noexcept {
    for (std::size_t i = 0; i < options_.workers; ++i) {
      if (records_[i].dirty.load(detail::seq_cst)) return false;  // (13) (D)
    }
    return true;
  }

  /// After a run has ended or tasks were dropped: tells who waits for idleness, if it is there. The
  /// last of several that end at a time sees the marks of the others cleared.
  void tell_idlers() noexcept {
    if (idlers_.value.is_anybody() && is_idle()) idlers_.value.notify_all();
  }

  std::error_code idle_until(detail::steady_time deadline) {
    if (inheritance_.is_foreign()) return make_error_code(errc::closed);
    if (is_inside()) return make_error_code(errc::would_deadlock);
    const auto idle = [this] { return is_idle(); };
    const bool in_time = idle() || idlers_.value.wait(deadline, idle, [this] { idle_.kick(); });
    return make_error_code(in_time ? accepted : errc::timed_out);
  }

  /// Closes to new work, which wakes every blocked submitter.
  void shut() noexcept {
    ring_.close();
    if (help_.shut()) tell_idlers();
    room_.value.notify_closed();
  }

  /// A group has unstarted tasks that no worker may know of.
  void call_help(typename help_desk::member& of) noexcept {
    if (inheritance_.is_foreign()) return;
    const auto change = help_.update(of);
    if (change.is_listed) idle_.notify(0, at_once);
    if (change.ends_spell) help_ended();
  }
  /// After a busy spell of a group ended.
  void help_ended() noexcept {
    tell_idlers();
    if (ring_.is_closed()) idle_.notify_closed();  // it may have been the last thing
  }

  /// Lets the workers end once the ring is drained. The first to wake wakes the next.
  void release_workers() noexcept {
    for (auto& worker : workers_.value) worker.request_stop();  // (12)
    idle_.notify_closed();
  }

  void end_threads() noexcept;
  std::size_t discard_before(position end) noexcept;
  std::error_code close_by(detail::steady_time deadline, const std::stop_token& cut);

  const options options_;
  detail::insiders insiders_{options_.workers};
  const detail::fresh_slots<detail::slot<Policy>> slots_;
  ring ring_{slots_.get(), options_.buffer};
  detail::idle_protocol<sync> idle_{options_.wake_delay};
  help_desk help_;
  alignas(detail::line_pair) typename sync::template atomic<std::uint64_t> rejected_{0};
  typename sync::template atomic<std::uint64_t> discarded_{0};  // by others than the workers
  typename sync::template atomic<bool> discards_{false};        // the workers drop what they take
  const std::unique_ptr<detail::worker_record<Policy>[]> records_;  // the last: of no worker
  std::stop_source stop_;  // the tasks'; the workers have their own
  owner owner_{*this};

  // The closing state, under its mutex.
  typename sync::mutex close_mutex_;
  enum class phase { open, closing, closed } phase_ = phase::open;
  detail::steady_time close_deadline_ = detail::no_deadline;
  bool is_cut_ = false;    // by a token
  std::size_t ended_ = 0;  // workers

  // Destroyed by end_threads(), and not in a forked child: there threads that are not there wait in
  // them, and nobody can join the workers.
  detail::immortal<detail::room_waiters<sync>> room_;
  detail::immortal<detail::idle_waiters<sync>> idlers_;
  detail::immortal<typename sync::condition_variable> close_changed_;
  detail::immortal<std::vector<typename sync::thread>> workers_;
  detail::inheritance inheritance_;  // a fork may come as soon as this is there
};

// ---------------------------------------------------------------------------------------------
// The pool's bodies

// --- Construction

template <class Policy>
basic_pool<Policy>::basic_pool(options opts)
    : options_(checked(std::move(opts))),
      slots_(options_.buffer),
      records_(std::make_unique<detail::worker_record<Policy>[]>(options_.workers + 1)),
      inheritance_([](void* p) noexcept { static_cast<basic_pool*>(p)->ring_.close(); }, this) {
  FANOUT_TRY {
    workers_.value.reserve(options_.workers);
    for (std::size_t i = 0; i < options_.workers; ++i) {
      workers_.value.emplace_back([this, i](const auto& stop) { this->serve(i, stop); });  // (7)
    }
  }
  FANOUT_CATCH_ALL {
    shut();
    release_workers();
    end_threads();
#if defined(__cpp_exceptions)
    throw;
#endif
  }
}

template <class Policy> basic_pool<Policy>::~basic_pool() {
  if (inheritance_.is_foreign()) return;
  if (close() != errc::would_deadlock) {
    end_threads();
    return;
  }
  std::fprintf(stderr, "fanout: pool \"%s\" is destroyed by a task that its end waits for\n",
               options_.name.c_str());
  std::abort();
}

/// Joins the workers, if they are not, and destroys what a forked child must not.
template <class Policy> void basic_pool<Policy>::end_threads() noexcept {
  std::destroy_at(&workers_.value);  // (7)
  std::destroy_at(&close_changed_.value);
  std::destroy_at(&idlers_.value);
  std::destroy_at(&room_.value);
}

// --- Submission

/// After a refusal: offers again until the answer is other than full.
template <class Policy>
template <class Parcel>
errc basic_pool<Policy>::wait_for_room(detail::steady_time deadline, const std::stop_token& stop,
                                       Parcel& parcel, bool is_urgent) {
  if (is_inside()) return errc::would_deadlock;
  const std::stop_callback<std::function<void()>> on_stop(stop,
                                                          [this] { room_.value.notify_stopped(); });
  const auto is_stopped = [&] { return stop.stop_requested(); };
  const auto attempt = [&] {
    for (;;) {
      const errc answer = offer(parcel, is_urgent);
      if (answer != errc::full) return answer;
      if (ring_.is_full_of_waiting() || detail::is_past(deadline) || is_stopped()) break;
      ring_.await_vacancy();
    }
    idle_.kick();
    return errc::full;
  };
  return room_.value.wait(deadline, attempt, is_stopped);
}

template <class Policy>
template <class Parcel>
errc basic_pool<Policy>::offer_evicting(Parcel& parcel) noexcept {
  /// Fills the slot as soon as the oldest task has left it.
  struct exchange final : detail::execution<Policy> {
    basic_pool& pool;
    Parcel& next;
    const position into;
    exchange(basic_pool& of, Parcel& with, const typename ring::eviction& both,
             const detail::slot<Policy>& s) noexcept
        : detail::execution<Policy>(of.owner_, of.ring_, both.victim, nullptr, s, true),
          pool(of),
          next(with),
          into(both.filled.first) {}
    void emptied(detail::slot<Policy>& slot) noexcept override {
      next.place(slot);
      pool.ring_.publish(slot, into);
      pool.idle_.notify(into, whenever);
    }
  };
  const auto claimed = ring_.claim_back_evicting();
  if (!claimed.evicts) return fill(claimed.filled, parcel, whenever);
  auto& slot = ring_.at(claimed.victim);
  if (claimed.filled.count != 0) {
    exchange by(*this, parcel, claimed, slot);
    detail::execute(slot, by);
  } else {
    execution by(owner_, ring_, claimed.victim, &room_.value, slot, true);
    detail::execute(slot, by);
  }
  discarded_.fetch_add(1, detail::seq_cst);  // (I)
  tell_idlers();
  return claimed.filled.why;
}

template <class Policy>
template <class Range>
  requires detail::callable<detail::reference_of<Range>>
bulk_result basic_pool<Policy>::try_do_bulk(Range&& tasks, source_location where) {
  using iterator = detail::iterator_of<Range>;
  using element = detail::reference_of<Range>;
  using parcel = detail::parcel<Policy, std::decay_t<element>, element&&>;
  bulk_result result;
  if constexpr (std::forward_iterator<iterator> && requires { std::ranges::size(tasks); } &&
                parcel::is_trivial&& noexcept(*std::declval<iterator&>())&& noexcept(
                    ++std::declval<iterator&>())) {
    const auto wanted = static_cast<std::size_t>(std::ranges::size(tasks));
    if (wanted == 0) return result;
    auto next = std::begin(tasks);  // may throw, as its copy may: before the claim
    std::size_t filled = 0;         // the elements before the first empty one
    for (auto it = next; filled < wanted; ++it, ++filled) {
      if (detail::is_empty_task(*it)) break;
    }
    errc why = errc::empty_task;
    typename ring::claim claimed;
    if (filled > 0) {
      claimed = ring_.claim_back(filled);
      // A claim that got less than it asked for met a slot that was not free.
      if (claimed.count < filled) why = claimed.count == 0 ? claimed.why : errc::full;
    }
    result.accepted = claimed.count;
    if (claimed.count > 0) {
      position last = 0;
      ring_.for_each(claimed, [&](detail::slot<Policy>& slot, position p) {
        element&& task = *next;
        parcel wrapped(task, where);
        wrapped.place(slot);
        ring_.publish(slot, p);
        last = p;
        ++next;
      });
      idle_.notify(last, whenever);
    }
    if (result.accepted < wanted) result.error = answer(why);
  } else {
    const auto end = std::end(tasks);
    for (auto it = std::begin(tasks); it != end; ++it) {
      result.error = try_do(*it, where);
      if (result.error) break;
      ++result.accepted;
    }
  }
  return result;
}

#if defined(__cpp_exceptions)
template <class Policy>
template <class Source, class Offer>
auto basic_pool<Policy>::promise(std::remove_reference_t<Source>& f, const source_location& where,
                                 Offer offer) {
  using fn = std::decay_t<Source>;
  using result = decltype(detail::call(std::declval<fn&>(), std::declval<detail::task_owner&>()));
  using source = detail::promise_source<Source, result>;
  std::promise<result> promise;
  std::future<result> future = promise.get_future();
  errc why = errc::empty_task;
  if (!detail::is_empty_task(f)) {
    source from{promise, f};
    detail::parcel<Policy, detail::promised_task<fn, result>, source&&> parcel(from, where);
    why = offer(parcel);
  }
  if (why == accepted) return future;
  promise = {};  // an early copy may have taken the first
  promise.set_exception(std::make_exception_ptr(std::system_error(answer(why))));
  return promise.get_future();
}
#endif

// --- The workers

/// What a worker does with what it finds: detail::worker_main's `self`.
template <class Policy> template <class Token> struct basic_pool<Policy>::duties {
  basic_pool& pool;
  detail::worker_record<Policy>& record;
  const Token& stop;
  std::size_t index;
  bool has_run = false;  // a task that was not discarded, since the last on_worker_idle

  bool is_stopping() const { return stop.stop_requested(); }                    // (12)
  bool is_awaited() const noexcept { return pool.idlers_.value.is_anybody(); }  // (H)
  bool is_asked() const noexcept { return pool.help_.is_asked(); }
  bool is_over() const noexcept {
    const std::uint64_t helped = pool.help_.ended();
    return helped == pool.help_.begun() && pool.ring_.is_drained();
  }

  void begin_run() noexcept {
    record.dirty.store(true, detail::relaxed);  // (4) orders it before the first task's end
  }
  void end_run() {
    if (std::exchange(has_run, false)) {
      pool.call_hook(pool.options_.on_worker_idle, "on_worker_idle", index);
    }
    record.dirty.store(false, detail::seq_cst);  // (13) (D)
    pool.tell_idlers();
  }

  void run(detail::slot<Policy>& slot, position at) {
    // Relaxed: whoever saw the stop that follows the mark sees the mark (12). A worker that did not
    // may start one task more.
    execution by(pool.owner_, pool.ring_, at, &pool.room_.value, slot,
                 pool.discards_.load(detail::relaxed));
    if constexpr (Policy::timed) {
      std::optional<detail::steady_time> accepted_at;
      if (!by.discards) accepted_at = slot.accepted_at;
      const detail::timed_run<Policy> timing(record, true, slot.where, accepted_at);
      detail::execute(slot, by);
    } else {
      detail::execute(slot, by);
    }
    (by.discards ? record.discarded : by.failed ? record.failed : record.completed).add();
    if (!by.discards) has_run = true;
  }

  void help() {
    if (!is_asked()) return;
    auto* const visited = pool.help_.visit();
    if (visited == nullptr) return;
    if (visited->help(index)) has_run = true;
    if (pool.help_.leave(*visited)) pool.help_ended();
  }
};

template <class Policy>
template <class Token>
void basic_pool<Policy>::serve(std::size_t index, const Token& stop) {
  insiders_.begin_worker(index, sync::this_thread());
  FANOUT_TRY { detail::name_this_thread(options_.name, index); }
  FANOUT_CATCH_ALL {}  // want of memory: unnamed
  call_hook(options_.on_worker_start, "on_worker_start", index);
  duties<Token> self{*this, records_[index], stop, index};
  detail::worker_main<Policy>(ring_, idle_, self);
  call_hook(options_.on_worker_stop, "on_worker_stop", index);
  const std::lock_guard hold(close_mutex_);  // (6)
  if (++ended_ == options_.workers) {
    help_.end();
    idlers_.value.notify_all();
  }
  close_changed_.value.notify_all();
}

// --- Waiting and closing

template <class Policy> void basic_pool<Policy>::request_stop() {
  if (inheritance_.is_foreign()) return;
  const detail::insiders::visit here(insiders_, sync::this_thread());
  shut();
  idle_.kick();
  stop_.request_stop();
}

/// Drops what waits in front of `end`, up to the first task that a submitter has claimed and not
/// published; says how many.
template <class Policy> std::size_t basic_pool<Policy>::discard_before(position end) noexcept {
  std::size_t count = 0;
  position at = 0;
  while (auto* const slot = ring_.claim_front_before(end, at)) {
    execution by(owner_, ring_, at, &room_.value, *slot, true);
    detail::execute(*slot, by);
    discarded_.fetch_add(1, detail::seq_cst);  // (I)
    ++count;
  }
  if (count > 0) tell_idlers();
  return count;
}

template <class Policy>
std::error_code basic_pool<Policy>::close_by(detail::steady_time deadline,
                                             const std::stop_token& cut) {
  if (inheritance_.is_foreign()) return make_error_code(errc::closed);
  shut();
  const auto self = sync::this_thread();
  const detail::closing wait(insiders_, self);
  if (wait.is_circular() || help_.is_anything_run_by(self)) {
    return make_error_code(errc::would_deadlock);
  }
  const std::stop_callback<std::function<void()>> on_cut(cut, [this] {
    const std::lock_guard hold(close_mutex_);  // (6)
    is_cut_ = true;
    close_changed_.value.notify_all();
  });
  std::unique_lock hold(close_mutex_);  // (6)
  if (phase_ != phase::open) {
    close_deadline_ = detail::smaller(close_deadline_, deadline);
    close_changed_.value.notify_all();
    while (phase_ != phase::closed) close_changed_.value.wait(hold);
    return make_error_code(errc::closed);
  }
  phase_ = phase::closing;
  close_deadline_ = deadline;
  hold.unlock();

  const detail::insiders::visit here(insiders_, self, true);
  release_workers();
  hold.lock();  // (6)
  bool in_time = true;
  while (ended_ != options_.workers && in_time && !is_cut_) {
    in_time = detail::wait_once<sync>(close_changed_.value, hold, close_deadline_);
  }
  const errc why = ended_ == options_.workers ? accepted
                   : in_time                  ? errc::canceled
                                              : errc::timed_out;
  hold.unlock();
  const bool late = why != accepted && !is_idle();
  if (late) {
    discards_.store(true, detail::relaxed);  // before the stop: (12)
    stop_.request_stop();
    discard_before(ring_.end());  // workers drop what is published later
    while (auto* const visited = help_.visit_to_skip()) {
      visited->skip();
      if (help_.leave(*visited)) help_ended();
    }
  }
  for (auto& worker : workers_.value) worker.join();  // (7)
  insiders_.end_workers();
  // Who purges or evicts may still be telling.
  idlers_.value.wait(
      detail::no_deadline, [this] { return is_idle(); }, [] {});
  hold.lock();  // (6)
  phase_ = phase::closed;
  close_changed_.value.notify_all();
  return make_error_code(late ? why : accepted);
}

// --- Observers

template <class Policy>
std::conditional_t<Policy::timed, timed_stats, stats> basic_pool<Policy>::stats() const noexcept {
  std::conditional_t<Policy::timed, timed_stats, fanout::stats> now;
  now.discarded = discarded_.load(detail::acquire);  // (I)
  for (std::size_t i = 0; i < options_.workers; ++i) {
    now.completed += records_[i].completed.get();
    now.failed += records_[i].failed.get();
    now.discarded += records_[i].discarded.get();
  }
  // Read in this order ended is not ahead of taken, which edge (4) brings.
  const std::uint64_t ended = now.completed + now.failed + now.discarded;
  const std::uint64_t taken = ring_.popped();
  const std::uint64_t pushed = ring_.pushed();
  now.accepted = pushed < taken ? taken : pushed;  // nothing orders the head before the tail
  const auto at_most = [](std::size_t limit, std::uint64_t n) {
    return n < limit ? static_cast<std::size_t>(n) : limit;
  };
  now.queued = at_most(options_.buffer, now.accepted - taken);
  now.running = at_most(options_.workers, taken - ended);
  if (!inheritance_.is_foreign()) add_groups(now);
  now.rejected = rejected_.load(detail::relaxed);  // publishes nothing
  now.workers = options_.workers;
  now.capacity = options_.buffer;
  if constexpr (Policy::timed) {
    const auto time = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i <= options_.workers; ++i) {
      const auto shown = records_[i].shown.read().value_or(detail::shown_task{});
      const auto elapsed = shown.since < time ? time - shown.since : std::chrono::nanoseconds(0);
      const bool is_longest = !now.longest_running || now.longest_running->elapsed < elapsed;
      if (shown.since != detail::steady_time() && is_longest) {
        now.longest_running = {i, shown.where, elapsed};
      }
      for (std::size_t bucket = 0; bucket < now.run_time.buckets_.size(); ++bucket) {
        now.wait_time.buckets_[bucket] += records_[i].waited[bucket].get();
        now.run_time.buckets_[bucket] += records_[i].ran[bucket].get();
      }
    }
  }
  return now;
}

template <class Policy> void basic_pool<Policy>::add_groups(fanout::stats& to) const noexcept {
  const auto groups = help_.count();
  to.accepted += groups.begun;
  to.failed += groups.failed;
  to.discarded += groups.skipped;
  to.completed += groups.ended - groups.failed - groups.skipped;
  const std::size_t running = to.running + help_.visitors();
  to.running = detail::smaller(running, options_.workers);
}

// ---------------------------------------------------------------------------------------------
// Groups

#if defined(__cpp_exceptions)

namespace detail {

/// Calls of basic_group::run on this thread that run their task themselves, one inside the other.
FANOUT_OWN_COPY inline thread_local constinit unsigned nested_runs = 0;

/// What a group and the threads that run its tasks share. The tasks wait in the group's own ring,
/// or beside it where `run` may neither block nor nest any deeper.
template <class Policy> class group_state final : public help_desk<typename Policy::sync>::member {
  using sync = typename Policy::sync;
  using tasks = ring_of<Policy>;
  using position = typename tasks::position;
  using help_desk = detail::help_desk<sync>;
  using totals = typename help_desk::totals;
  template <class T> using atomic = typename sync::template atomic<T>;

 public:
  group_state(basic_pool<Policy>& of, const group_options& how) noexcept
      : pool_(of), limit_(how.limit), on_workers_(how.on_workers) {
    if (is_enrolled_) of.help_.enrol(*this);
  }

  /// Whether it was made before this process was forked off.
  bool is_foreign() const noexcept { return is_enrolled_ && pool_.inheritance_.is_foreign(); }

  /// Stores a task, or says full, or, if they run on workers only, closed.
  template <class Parcel> errc offer(Parcel& parcel) noexcept {
    const auto claimed = tasks_.claim_back(1);
    if (claimed.count == 0) return claimed.why;
    auto& slot = tasks_.at(claimed.first);
    parcel.place(slot);
    tasks_.publish(slot, claimed.first);
    stored();
    return errc{};
  }

  /// Stores a task, waits until it can, or runs it at once.
  template <class Parcel> errc run(Parcel& parcel) {
    errc answer = offer(parcel);
    if (answer != errc::full) return answer;
    if (on_workers_) {
      if (pool_.is_inside()) return errc::would_deadlock;
    } else if (nested_runs < most_nested_runs && take_place()) {
      run_here(parcel);
      return errc{};
    } else if (limit_ == 0 || pool_.is_inside()) {
      store_beside(parcel);
      return errc{};
    }
    bool has_place = false;
    const auto attempt = [&] {
      for (;;) {
        answer = offer(parcel);
        if (answer != errc::full) return answer;
        has_place = !on_workers_ && take_place();
        if (has_place) return errc{};
        if (tasks_.is_full_of_waiting() || is_stopped()) return errc::full;
        tasks_.await_vacancy();
      }
    };
    answer = room_.wait(no_deadline, attempt, [this] { return is_stopped(); });
    if (has_place) run_here(parcel);
    return answer;
  }

  /// Runs and waits until every task has ended, or the deadline; says whether they have.
  bool wait_until(steady_time deadline) {
    const running_thread here(*this);
    const auto worker = worker_for_times();
    const auto changed = [this] { return is_done() || (has_unstarted() && may_start()); };
    while (run_some(everything, deadline, 0, worker).in_time && !is_done()) {
      if (has_unstarted() && may_start()) {
        tasks_.await_publisher();
      } else if (!waiters_.wait(deadline, changed, [] {})) {
        break;
      }
    }
    return is_done();
  }

  /// The same, of tasks that only workers run.
  bool sleep_until(steady_time deadline) {
    return waiters_.wait(
        deadline, [this] { return is_done(); }, [] {});
  }

  errc wait(steady_time deadline) {
    if (is_foreign()) return errc::canceled;
    if (on_workers_ && pool_.is_inside()) return errc::would_deadlock;
    const bool in_time = on_workers_ ? sleep_until(deadline) : wait_until(deadline);
    return !in_time ? errc::timed_out : skipped() != 0 ? errc::canceled : errc{};
  }

  void stop() noexcept {
    if (is_foreign()) return;
    stopped_.store(true, relaxed);  // publishes nothing; a late reader runs one more
    room_.notify_stopped();
    waiters_.notify_all();
    {
      const std::lock_guard hold(mutex_);  // (9)
      if (!stop_source_) return;
    }
    stop_source_->request_stop();  // made once
  }

  bool is_stopped() const noexcept { return stopped_.load(relaxed) || is_foreign(); }
  std::uint64_t skipped() const noexcept { return skipped_.load(relaxed); }

  /// The group's token, which also fires with the pool's. Made when first asked for.
  std::stop_token token() {
    if (is_foreign()) return {};
    const std::lock_guard hold(mutex_);  // (9)
    if (!stop_source_) {
      stop_source_.emplace();
      if (is_stopped()) stop_source_->request_stop();
      pool_stops_.emplace(pool_.get_stop_token(), forward_stop{*stop_source_});
    }
    return stop_source_->get_token();
  }

  /// The first failure, once.
  std::exception_ptr take_failure() noexcept {
    const std::lock_guard hold(mutex_);  // (9)
    return std::exchange(failure_.error, nullptr);
  }

  /// The owner goes: stops it, skips what has not started, waits for the rest, and hands a failure
  /// that nobody waited for to on_error.
  void end() {
    if (is_foreign()) return;  // others' locks, which nobody will release
    stop();
    wait_until(no_deadline);
    if (const auto error = take_failure()) {
      try {
        std::rethrow_exception(error);
      } catch (...) {
        pool_.report(failure_.worker, failure_.where);
      }
    }
    auto& of = pool_;
    if (!is_enrolled_) {
      delete this;
    } else if (of.help_.retire(*this)) {
      of.help_ended();
    }
  }

 private:
  static constexpr std::size_t capacity = 32;  // tasks; bounds the group's one allocation
  static constexpr std::uint64_t everything = ~std::uint64_t{0};
  static constexpr unsigned most_nested_runs = 64;
  static constexpr unsigned looks_of_a_visitor = 16;  // before it takes there to be no more

  struct forward_stop {
    std::stop_source source;
    void operator()() noexcept { source.request_stop(); }
  };

  struct owner final : task_owner {
    group_state& group;
    explicit owner(group_state& of) noexcept : group(of) {}
    std::stop_token token() override { return group.token(); }
    void report(const source_location& where) override { group.keep_failure(where); }
    void complain(const char* who) const noexcept override { group.pool_.owner_.complain(who); }
    insiders& inside() noexcept override { return group.pool_.insiders_; }
  };

  /// A task beside the ring.
  struct stored_task {
    slot<Policy> in;
    std::unique_ptr<stored_task> next;
  };

  /// A thread that runs tasks of this group counts as a worker meanwhile. The first thread that
  /// ever does has a place of its own for that, since most groups have one.
  class running_thread {
   public:
    explicit running_thread(group_state& of) : of_(of) {
      const auto who = sync::this_thread();
      auto first = std::thread::id();
      is_first_ = of.first_runner_.load(relaxed) == who ||
                  of.first_runner_.compare_exchange_strong(first, who, relaxed);
      if (is_first_) {
        add(1);
      } else if (!of.pool_.inheritance_.is_foreign()) {
        visit_.emplace(of.pool_.insiders_, who);
      }
    }
    ~running_thread() {
      if (is_first_) add(-1);
    }
    running_thread(const running_thread&) = delete;
    running_thread& operator=(const running_thread&) = delete;

   private:
    void add(int n) noexcept {  // relaxed: one thread writes it, and looks at it
      const auto depth = of_.first_depth_.load(relaxed);
      of_.first_depth_.store(depth + static_cast<unsigned>(n), relaxed);
    }
    group_state& of_;
    bool is_first_ = false;
    std::optional<insiders::visit> visit_;
  };

  // --- As the desk sees it

  bool has_unstarted() const noexcept override {  // (E) (F)
    return tasks_.has_claims() || beside_.load(seq_cst) != 0;
  }
  bool may_start() const noexcept override {
    return limit_ == 0 || running_.load(seq_cst) < limit_ || is_stopped();  // (J)
  }
  bool help(std::size_t worker) override {
    const bool drops = pool_.discards_.load(relaxed);  // relaxed: as for the tasks of the ring
    const auto ran = run_some(tasks_per_turn, no_deadline, looks_of_a_visitor, worker, drops);
    if (ran.ended == 0 && has_unstarted() && may_start()) tasks_.await_publisher();
    return ran.ended != ran.skipped;
  }
  void skip() noexcept override {
    run_some(begun() - ended_.load(acquire), no_deadline, 0, no_worker, true);
  }
  void shut() noexcept override {
    if (!on_workers_) return;
    tasks_.close();
    room_.notify_closed();
  }
  totals count() const noexcept override {
    totals now;
    now.failed = failed_.load(relaxed);
    now.skipped = skipped();
    now.ended = larger(ended_.load(acquire), now.failed + now.skipped);  // counted before they end
    now.begun = larger(begun(), now.ended);
    return now;
  }
  bool is_run_by(std::thread::id who) const noexcept override {
    return first_runner_.load(relaxed) == who && first_depth_.load(relaxed) != 0;
  }

  static std::uint64_t larger(std::uint64_t a, std::uint64_t b) noexcept { return a < b ? b : a; }

  // --- Running

  /// After a task was stored: somebody will run it, a waiter or a worker.
  void stored() noexcept {
    waiters_.notify_all();  // (E): a sleeping waiter looks again
    if (this->where() == help_desk::off) pool_.call_help(*this);
  }

  template <class Parcel> void store_beside(Parcel& parcel) {
    auto task = std::make_unique<stored_task>();
    parcel.place(task->in);
    direct_.fetch_add(1, relaxed);  // before anybody can run it
    {
      const std::lock_guard hold(mutex_);  // (9)
      auto* const last = (last_beside_ == nullptr ? &first_beside_ : &last_beside_->next);
      last_beside_ = task.get();
      *last = std::move(task);
    }
    beside_.fetch_add(1, seq_cst);  // (E) (F)
    stored();
  }
  std::unique_ptr<stored_task> take_beside() noexcept {
    if (beside_.load(relaxed) == 0) return nullptr;
    const std::lock_guard hold(mutex_);  // (9)
    auto first = std::move(first_beside_);
    if (first == nullptr) return nullptr;
    first_beside_ = std::move(first->next);
    if (first_beside_ == nullptr) last_beside_ = nullptr;
    beside_.fetch_sub(1, seq_cst);
    return first;
  }

  /// Runs a task that has a place, from a slot of its own, and gives the place back.
  template <class Parcel> void run_here(Parcel& parcel) {
    const running_thread here(*this);
    slot<Policy> own;
    parcel.place(own);
    direct_.fetch_add(1, relaxed);  // ended_ never exceeds it: same thread
    tally one;
    ++nested_runs;
    execute(one, own, 0, nullptr, worker_for_times(), false);
    --nested_runs;
    count_ended(1);
    give_place();
  }

  struct tally {
    std::uint64_t ended = 0, skipped = 0;
    bool in_time = true;
  };

  /// Runs, or drops, stored tasks while there are some, at most `most`, and until the deadline;
  /// looks again so many times before it takes there to be none.
  tally run_some(std::uint64_t most, steady_time deadline, unsigned looks, std::size_t worker,
                 bool drops = false) {
    tally here;
    const bool needs_place = !drops && !is_stopped();
    if (!has_unstarted() || (needs_place && !take_place())) return here;
    while (here.ended < most && here.in_time) {
      if (run_next(here, worker, drops)) {
        here.in_time = !is_past(deadline);
      } else if (looks > 0) {
        --looks;
        sync::pause();
      } else {
        break;
      }
    }
    count_ended(here.ended);
    if (needs_place) give_place();
    return here;
  }

  /// Runs or drops the next task that is stored, if there is one.
  bool run_next(tally& here, std::size_t worker, bool drops) {
    position at = 0;
    if (auto* const first = tasks_.claim_front(at)) {
      execute(here, *first, at, &room_, worker, drops);
    } else if (const auto task = take_beside()) {
      execute(here, task->in, 0, nullptr, worker, drops);
    } else {
      return false;
    }
    return true;
  }

  void execute(tally& here, slot<Policy>& s, position at, room_waiters<sync>* room,
               std::size_t worker, bool drops) {
    plain_execution<Policy> by(owner_, tasks_, at, room, s, drops || is_stopped());
    if (by.discards) {
      skipped_.fetch_add(1, relaxed);  // published by count_ended
      ++here.skipped;
    }
    if constexpr (Policy::timed) {
      std::optional<steady_time> accepted_at;
      if (!by.discards) accepted_at = s.accepted_at;
      const bool is_worker = worker != no_worker;
      const timed_run<Policy> timing(pool_.records_[is_worker ? worker : pool_.workers()],
                                     is_worker, s.where, accepted_at);
      detail::execute(s, by);
    } else {
      detail::execute(s, by);
    }
    if (by.failed && !by.discards) failed_.fetch_add(1, relaxed);
    ++here.ended;
  }

  /// Counts tasks that this thread ran one after another: once for all, since the line of the count
  /// goes from core to core. Whoever counts the last one sees that it was the last.
  void count_ended(std::uint64_t n) noexcept {
    if (n == 0) return;
    const auto ended = ended_.fetch_add(n, seq_cst) + n;  // (8) (I)
    if (ended == begun()) waiters_.notify_all();
  }

  // --- Places under the limit

  bool take_place() noexcept {
    if (limit_ == 0) return true;
    std::size_t running = running_.load(seq_cst);  // (J)
    do {
      if (running >= limit_) return false;
    } while (!running_.compare_exchange_weak(running, running + 1, seq_cst, seq_cst));
    return true;
  }
  void give_place() noexcept {
    if (limit_ == 0) return;
    running_.fetch_sub(1, seq_cst);  // (J)
    if (this->where() == help_desk::stalled) pool_.call_help(*this);
    waiters_.notify_all();
    room_.notify_not_full();
  }

  /// Whose times a task's are; asked for only where they are kept.
  std::size_t worker_for_times() const noexcept {
    return Policy::timed ? pool_.this_worker() : no_worker;
  }

  void keep_failure(const source_location& where) {
    const auto worker = pool_.this_worker();
    std::unique_lock hold(mutex_);  // (9)
    if (std::exchange(has_failed_, true)) {
      hold.unlock();
      return pool_.report(worker, where);
    }
    failure_ = {std::current_exception(), pool_.name(), worker, where};
    hold.unlock();
    stop();
  }

  std::uint64_t begun() const noexcept { return tasks_.pushed() + direct_.load(relaxed); }
  bool is_done() const noexcept {                      // as basic_pool::is_idle
    const std::uint64_t ended = ended_.load(seq_cst);  // (8) (I)
    return ended == begun();
  }

  basic_pool<Policy>& pool_;
  const std::size_t limit_;
  const bool on_workers_;
  const bool is_enrolled_ = !pool_.inheritance_.is_foreign();
  std::array<slot<Policy>, capacity> slots_{};
  tasks tasks_{slots_.data(), capacity};
  owner owner_{*this};
  room_waiters<sync> room_;     // in run()
  idle_waiters<sync> waiters_;  // in wait(): for the end, or for a task to run
  atomic<std::uint64_t> ended_{0}, direct_{0}, skipped_{0}, failed_{0};
  atomic<std::size_t> running_{0};  // places taken, where there is a limit
  atomic<std::size_t> beside_{0};
  atomic<bool> stopped_{false};
  std::atomic<std::thread::id> first_runner_{};
  std::atomic<unsigned> first_depth_{0};

  typename sync::mutex mutex_;
  std::unique_ptr<stored_task> first_beside_;
  stored_task* last_beside_ = nullptr;
  bool has_failed_ = false;
  error_info failure_{};
  std::optional<std::stop_source> stop_source_;
  std::optional<std::stop_callback<forward_stop>> pool_stops_;
};

}  // namespace detail

/// A set of tasks that is waited for together; after Go's errgroup. The first failure stops the
/// rest. Its tasks may use the group, or groups of their own, at any depth, also while the pool
/// drains. They wait in the group and take none of the pool's buffer; workers help as long as there
/// are some. One allocation a group, none a task that fits a slot.
///
/// A thread that runs a task of the group counts as a worker of the pool.
///
/// Preconditions: the pool outlives the group; no task waits for its own group.
/// Thread safety: every member but the destructor, from any thread, at any time.
template <class Policy> class basic_group {
  using state = detail::group_state<Policy>;

 public:
  /// Throws: std::bad_alloc.
  explicit basic_group(basic_pool<Policy>& of, const group_options& how = {})
      : pool_(of), state_(new state(of, how)) {}

  /// Requests stop and waits. A failure that nobody waited for goes to on_error.
  ~basic_group() { state_->end(); }

  basic_group(const basic_group&) = delete;
  basic_group& operator=(const basic_group&) = delete;

  /// Adds a task. Refusals: empty_task; canceled, after a failure or a stop; closed, with
  /// on_workers and the pool closed; full, when 32 tasks wait. Never blocks.
  template <detail::callable F>
  [[nodiscard]] std::error_code try_do(F&& f, source_location where = source_location::current()) {
    return submit<F&&>(f, where, [this](auto& parcel) { return state_->offer(parcel); });
  }

  /// Adds a task; where there is no room, runs it on the caller before it returns: never call it
  /// with a lock that the task needs. Nests 64 deep on a thread, beyond which the task waits in
  /// storage that grows. With a limit that is reached, blocks until there is room or the group
  /// stops (canceled), or, inside a task of this pool, stores the task. With on_workers, blocks
  /// until there is room, the pool is closed or the group stops; on a worker without room:
  /// would_deadlock.
  template <detail::callable F>
  [[nodiscard]] std::error_code run(F&& f, source_location where = source_location::current()) {
    return submit<F&&>(f, where, [this](auto& parcel) { return state_->run(parcel); });
  }

  /// Runs the group's unstarted tasks, sleeps until those that others started have ended, then
  /// rethrows the first failure, once. Else answers success, or canceled when a task of the group
  /// was ever skipped. Never runs a task of anybody else. With on_workers only sleeps; then, on a
  /// worker: would_deadlock.
  std::error_code wait() { return outcome(state_->wait(detail::no_deadline)); }

  /// The same, for `duration` or until `deadline` at most, though a task that it runs is not cut
  /// short: timed_out.
  [[nodiscard]] std::error_code wait_for(const detail::duration auto& duration) {
    return outcome(state_->wait(detail::deadline_after(duration)));
  }
  [[nodiscard]] std::error_code wait_until(const detail::time_point auto& deadline) {
    return outcome(state_->wait(detail::deadline_at(deadline)));
  }

  /// Fires the tasks' token; those not started are skipped, and counted.
  void request_stop() { state_->stop(); }
  std::stop_token get_stop_token() const { return state_->token(); }
  std::uint64_t skipped() const noexcept { return state_->skipped(); }

 private:
  template <class Source, class Offer>
  std::error_code submit(std::remove_reference_t<Source>& f, const source_location& where,
                         Offer offer) {
    if (detail::is_empty_task(f)) return make_error_code(errc::empty_task);
    if (state_->is_stopped()) return make_error_code(errc::canceled);
    detail::parcel<Policy, std::decay_t<Source>, Source> parcel(f, where);
    return pool_.answer(offer(parcel));
  }

  std::error_code outcome(errc answer) {
    if (answer != errc::timed_out && answer != errc::would_deadlock) {
      if (auto error = state_->take_failure()) std::rethrow_exception(std::move(error));
    }
    return make_error_code(answer);
  }

  basic_pool<Policy>& pool_;
  state* const state_;  // which visitors may outlive it in
};

#else

template <class Policy> class basic_group {
  static_assert(!sizeof(Policy), "fanout: basic_group needs exceptions");
};

#endif

// ---------------------------------------------------------------------------------------------
// Coroutines

namespace detail {

/// A suspended coroutine as a task.
struct resumption : discardable {
  std::coroutine_handle<> coroutine;
  std::error_code* answer;
  resumption(std::coroutine_handle<> h, std::error_code* to) noexcept : coroutine(h), answer(to) {}
  void operator()() const { coroutine.resume(); }
  void discard() const {  // may throw what the coroutine does
    *answer = make_error_code(errc::canceled);
    coroutine.resume();
  }
};

template <class Pool> struct schedule_awaiter {
  Pool& pool;
  source_location where;
  std::error_code answer{0, category()};

  schedule_awaiter(Pool& of, const source_location& place) noexcept : pool(of), where(place) {}

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> coroutine) {
    answer = make_error_code(errc{});
    // Once accepted, the coroutine may already run or be gone, and this awaiter with it.
    const std::error_code refusal = pool.submit_at_once(resumption(coroutine, &answer), where);
    if (refusal) answer = refusal;
    return !refusal;
  }
  [[nodiscard]] std::error_code await_resume() const noexcept { return answer; }
};

}  // namespace detail

}  // namespace FANOUT_ABI
}  // namespace fanout

#pragma pop_macro("move")
#if defined(__clang__)
#pragma clang diagnostic pop
#endif
#undef FANOUT_TRY
#undef FANOUT_CATCH_ALL
#undef FANOUT_POSIX
#undef FANOUT_OWN_COPY
#undef FANOUT_ABI

#endif  // FANOUT_FANOUT_HPP
