// The shipped pool under the Relacy model checker.
//
// model::policy is a Policy whose sync runs on Relacy: every operation of the pool's atomics,
// mutexes, condition variables, parks, fences and threads is a step of the simulation, after which
// another simulated thread may go on, and every atomic load may yield an old value where the
// standard lets it. Nothing of the pool is written again here.
//
// A scenario is a class that derives from model::scenario. before() makes its pool, thread(i) is
// what the i-th simulated thread does, and after(), when all threads have ended, checks what holds
// for every scenario: each accepted task ran once, no refused task ran or was moved from. Relacy
// itself reports deadlocks, that is missed wake-ups, livelocks, data races on a task's memory and
// on what it wrote, and reads of what was never written.
//
// Where the model is stronger than the standard, and so blind: compare_exchange reads the newest
// value; loads go back at most two writes, one with a bound. With a bound no wait ends and no
// exchange fails without cause, a deadline passes at once or not at all, and the search is Relacy's
// fair one. std::stop_source and std::stop_token run between two steps. Time stands still, except
// that a nap may end by it: at any step in a random schedule; with a bound at once, or as soon as the
// scenario lets it pass, since there Relacy loses count of threads that wait for a time.

#ifndef FANOUT_TESTS_MODEL_HPP
#define FANOUT_TESTS_MODEL_HPP

#include <fanout/fanout.hpp>

#include <cxxabi.h>

#include <array>
#include <cstring>
#include <map>

#include <relacy/relacy.hpp>

// Relacy gives these words meanings of its own, which nothing below needs.
#undef assert
#undef calloc
#undef delete
#undef errno
#undef free
#undef malloc
#undef memory_order_acq_rel
#undef memory_order_acquire
#undef memory_order_consume
#undef memory_order_relaxed
#undef memory_order_release
#undef memory_order_seq_cst
#undef new
#undef realloc
#undef TLS_T
#undef VAR
#undef VAR_T

namespace model {

using where = fanout::source_location;
inline rl::debug_info info(const where& at) {
  return {at.function_name(), at.file_name(), at.line()};
}

/// How a simulation runs.
struct settings {
  bool random = false;  // else every schedule with at most `bound` preemptions
  unsigned bound = 0;
  bool seq_cst = false;     // every atomic operation is: only interleavings differ
  std::uint64_t first = 1;  // random schedules: the first seed
  std::uint64_t limit = 0;  // executions; 0: all
};
inline settings chosen;

inline void check(bool holds, const char* claim, const where& at = where::current()) {
  if (!holds) rl::ctx().fail_test(claim, rl::test_result_user_assert_failed, info(at));
}

// --- What a simulated thread has of its own ----------------------------------------------------

/// Relacy's threads are fibers of one thread and share its thread_locals. Each keeps its own
/// exceptions in flight across a step.
class step {
 public:
  step() noexcept { std::memcpy(exceptions_, __cxxabiv1::__cxa_get_globals(), sizeof exceptions_); }
  ~step() { put(exceptions_); }
  step(const step&) = delete;
  step& operator=(const step&) = delete;

  static void begin_thread() noexcept {
    const words none{};
    put(none);
  }

 private:
  using words = void* [2];  // __cxa_eh_globals of the Itanium ABI
  static void put(const words& exceptions) noexcept {
    std::memcpy(__cxxabiv1::__cxa_get_globals(), exceptions, sizeof exceptions);
  }
  words exceptions_;
};

/// Threads that sleep on an address. A wake publishes nothing.
class sleepers {
 public:
  void clear() noexcept { count_ = 0, spurious_ = 0; }

  void sleep(const void* on, bool may_wake_for_nothing, const rl::debug_info& at) {
    const bool spurious = may_wake_for_nothing && chosen.random && spurious_ < 4;
    if (park(on, false, spurious, at) == rl::unpark_reason_spurious) ++spurious_;
  }

  /// Whether the time ended it.
  bool sleep_for_a_time(const void* on, const rl::debug_info& at) {
    return park(on, true, false, at) == rl::unpark_reason_timeout;
  }

  bool wake_one(const void* on, const rl::debug_info& at) {
    std::array<std::size_t, most> found{};
    unsigned n = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      if (list_[i].on == on) found[n++] = i;
    }
    if (n == 0) return false;
    const std::size_t which = found[n == 1 ? 0 : rl::rand(n)];
    const rl::thread_id_t thread = list_[which].thread;
    erase(which);
    rl::ctx().unpark_thread(thread, false, at);
    return true;
  }

 private:
  static constexpr std::size_t most = 8;
  struct entry {
    const void* on;
    rl::thread_id_t thread;
  };
  rl::unpark_reason park(const void* on, bool timed, bool spurious, const rl::debug_info& at) {
    rl::context& c = rl::ctx();
    list_[count_++] = {on, c.current_thread()};
    const auto reason = c.park_current_thread(timed, spurious, false, at);
    if (reason != rl::unpark_reason_normal) {
      std::size_t own = 0;
      while (list_[own].thread != c.current_thread()) ++own;
      erase(own);
    }
    return reason;
  }
  void erase(std::size_t i) noexcept {
    for (--count_; i < count_; ++i) list_[i] = list_[i + 1];
  }
  std::array<entry, most> list_{};
  std::size_t count_ = 0;
  unsigned spurious_ = 0;  // wakes without cause in this execution
};
inline sleepers asleep;

// --- Policy::sync -----------------------------------------------------------------------------

inline rl::memory_order order(std::memory_order o) noexcept {
  if (chosen.seq_cst) return rl::mo_seq_cst;
  switch (o) {
    case std::memory_order_relaxed: return rl::mo_relaxed;
    case std::memory_order_consume: return rl::mo_consume;
    case std::memory_order_acquire: return rl::mo_acquire;
    case std::memory_order_release: return rl::mo_release;
    case std::memory_order_acq_rel: return rl::mo_acq_rel;
    case std::memory_order_seq_cst: break;
  }
  return rl::mo_seq_cst;
}

template <class T> class atomic {
 public:
  atomic() : atomic(T{}) {}
  atomic(T value, const where& at = where::current()) {
    store(value, std::memory_order_relaxed, at);
  }

  T load(std::memory_order o, const where& at = where::current()) const {
    const step s;
    return value_.load(order(o), info(at));
  }
  void store(T value, std::memory_order o, const where& at = where::current()) {
    const step s;
    value_.store(value, order(o), info(at));
  }
  T fetch_add(T value, std::memory_order o, const where& at = where::current()) {
    const step s;
    return value_.fetch_add(value, order(o), info(at));
  }
  T fetch_sub(T value, std::memory_order o, const where& at = where::current()) {
    const step s;
    return value_.fetch_sub(value, order(o), info(at));
  }
  T fetch_or(T value, std::memory_order o, const where& at = where::current()) {
    const step s;
    return value_.fetch_or(value, order(o), info(at));
  }
  T fetch_and(T value, std::memory_order o, const where& at = where::current()) {
    const step s;
    return value_.fetch_and(value, order(o), info(at));
  }
  // Fails for no reason only in random schedules: that multiplies the others, and is a retry.
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure, const where& at = where::current()) {
    const step s;
    if (!chosen.random) return exchange<false>(expected, desired, success, failure, at);
    return exchange<true>(expected, desired, success, failure, at);
  }

  /// The newest value, as the kernel reads it under its own lock.
  T newest(const where& at) {
    T value = static_cast<T>(-1);  // never there, or there already
    exchange<false>(value, value, std::memory_order_relaxed, std::memory_order_relaxed, at);
    return value;
  }

 private:
  template <bool Weak>
  bool exchange(T& expected, T desired, std::memory_order success, std::memory_order failure,
                const where& at) {
    return value_.compare_exchange(rl::bool_t<Weak>(), expected, desired, order(success),
                                   order(failure), info(at));
  }
  rl::atomic<T> value_;
};

class mutex {
 public:
  void lock(const where& at = where::current()) { lock(info(at)); }
  void unlock(const where& at = where::current()) { unlock(info(at)); }

  // For the condition variable.
  void lock(const rl::debug_info& at) {
    const step s;
    mutex_.lock(at);
  }
  void unlock(const rl::debug_info& at) {
    const step s;
    mutex_.unlock(at);
  }

 private:
  rl::mutex mutex_;
};

class condition_variable {
 public:
  condition_variable() { on_.init(true, info(where::current())); }
  ~condition_variable() { on_.deinit(info(where::current())); }
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;

  void wait(std::unique_lock<mutex>& hold, const where& at = where::current()) {
    const step s;
    on_.wait(*hold.mutex(), false, info(at));
  }
  /// The deadline passes whenever the scheduler likes; with a bound, at once or not in this wait,
  /// since there Relacy loses count of threads that both yield and wait for a time.
  template <class Time>
  std::cv_status wait_until(std::unique_lock<mutex>& hold, const Time&,
                            const where& at = where::current()) {
    const step s;
    if (!chosen.random) {
      if (rl::rand(2) == 0) return wait(hold, at), std::cv_status::no_timeout;
      hold.mutex()->unlock(at);
      hold.mutex()->lock(at);
      return std::cv_status::timeout;
    }
    const auto reason = on_.wait(*hold.mutex(), true, info(at));
    return reason == rl::sema_wakeup_reason_timeout ? std::cv_status::timeout
                                                    : std::cv_status::no_timeout;
  }
  void notify_one(const where& at = where::current()) {
    const step s;
    on_.notify_one(info(at));
  }
  void notify_all(const where& at = where::current()) {
    const step s;
    on_.notify_all(info(at));
  }

 private:
  rl::condvar<condition_variable> on_;
};

/// As std::jthread, with a token of its own. Its simulated thread is there from the beginning, so
/// that the scheduler may begin with any.
class thread {
 public:
  class token {
   public:
    explicit token(const atomic<bool>& stopped) noexcept : stopped_(&stopped) {}
    bool stop_requested() const { return stopped_->load(std::memory_order_acquire); }

   private:
    const atomic<bool>* stopped_;
  };

  template <class F> explicit thread(F body) : state_(std::make_unique<state>(std::move(body))) {
    started[starts++] = state_.get();
  }
  thread(thread&&) = default;
  ~thread() {
    if (state_ == nullptr || state_->joined) return;
    request_stop();
    join();
  }

  void request_stop() { state_->stopped.store(true, std::memory_order_release); }
  void join(const where& at = where::current()) {
    const step s;
    if (!state_->ended.newest(at)) asleep.sleep(&state_->ended, false, info(at));
    check(state_->ended.load(std::memory_order_acquire, at), "a joined thread has ended", at);
    state_->joined = true;
  }

  /// What the simulated thread `index` of those set apart for this does.
  static void main(std::size_t index, const where& at = where::current()) {
    state& self = *started[index];
    self.body(token(self.stopped));
    self.ended.store(true, std::memory_order_release, at);
    asleep.wake_one(&self.ended, info(at));
  }
  static void clear() { starts = 0; }

 private:
  struct state {
    explicit state(std::function<void(const token&)> f) : body(std::move(f)) {}
    std::function<void(const token&)> body;
    atomic<bool> stopped{false}, ended{false};
    bool joined = false;
  };
  inline static std::array<state*, 8> started{};
  inline static std::size_t starts = 0;
  std::unique_ptr<state> state_;
};

struct sync {
  template <class T> using atomic = model::atomic<T>;
  using mutex = model::mutex;
  using condition_variable = model::condition_variable;
  using thread = model::thread;

  /// The parts that tell who is inside a pool lock a std::mutex for a moment, in no step of the model.
  static std::thread::id this_thread() {
    return std::thread::id(
        static_cast<std::thread::native_handle_type>(rl::ctx().current_thread()) + 1);
  }

  static void pause() noexcept {}
  static void yield(const where& at = where::current()) {
    const step s;
    rl::yield(1, info(at));
  }

  static void sleep_briefly(const where& at = where::current()) { yield(at); }

  static void park(atomic<std::uint32_t>& word, std::uint32_t expected,
                   const where& at = where::current()) {
    const step s;
    if (word.newest(at) == expected) asleep.sleep(&word, true, info(at));
  }
  static void unpark_one(atomic<std::uint32_t>& word, const where& at = where::current()) {
    const step s;
    rl::ctx().sched();
    asleep.wake_one(&word, info(at));
  }

  static fanout::detail::steady_time now() noexcept { return clock; }
  inline static fanout::detail::steady_time clock{};

  struct timed_parking {
    void park_until(atomic<std::uint32_t>& word, std::uint32_t expected,
                    fanout::detail::steady_time deadline, const where& at = where::current()) {
      const step s;
      if (word.newest(at) != expected) return;
      ++naps;
      if (chosen.random && !timeless) {
        if (asleep.sleep_for_a_time(&word, info(at))) clock = (std::max)(clock, deadline);
      } else if (timeless || (!has_passed && rl::rand(2) == 0)) {
        napping_on = &word;
        asleep.sleep(&word, false, info(at));
        napping_on = nullptr;
        if (has_passed) clock = (std::max)(clock, deadline);
      } else {
        clock = (std::max)(clock, deadline);
      }
    }
    void unpark(atomic<std::uint32_t>& word, const where& at = where::current()) {
      unpark_one(word, at);
    }
  };
  inline static bool timeless = false;    // nothing but a kick ends a nap
  inline static bool has_passed = false;  // each nap ends by time now
  inline static const void* napping_on = nullptr;
  inline static unsigned naps = 0;  // begun in this execution

  /// From now on naps end by time, the one that stands included.
  static void let_time_pass(const where& at = where::current()) {
    has_passed = true;
    if (napping_on != nullptr && !timeless) asleep.wake_one(napping_on, info(at));
  }
};

/// An idle worker sleeps as soon as it may, and a submitter blocks as soon as it may.
struct policy : fanout::default_policy {
  using sync = model::sync;
  static constexpr unsigned spins = 0;
};

/// Searches once more before that.
struct patient_policy : policy {
  static constexpr unsigned spins = 1;
};

// --- Scenarios --------------------------------------------------------------------------------

/// Makes simulated threads wait for each other. No step, and orders nothing, so that it hides
/// neither a missed wake-up nor a data race.
class gate {
 public:
  explicit gate(int arrivals) noexcept : left_(arrivals) {}
  void arrive(const where& at = where::current()) {
    if (--left_ != 0) return;
    while (asleep.wake_one(this, info(at))) {
    }
  }
  void wait(const where& at = where::current()) {
    const step s;
    while (left_ > 0) asleep.sleep(this, false, info(at));
  }
  void arrive_and_wait(const where& at = where::current()) {
    arrive(at);
    wait(at);
  }

 private:
  int left_;
};

/// What became of the tasks of one execution.
class world {
 public:
  static constexpr unsigned most = 8;  // tasks, numbered from 0

  world() {
    // Relacy's own operator delete is a step that multiplies the schedules; malloc serves.
    unmanaged::memory(rl::ctx());
    asleep.clear();
    thread::clear();
    sync::clock = {};
    sync::timeless = false;
    sync::has_passed = false;
    sync::napping_on = nullptr;
    sync::naps = 0;
  }

  /// Submission `id` was answered; whether it was accepted.
  bool answered(unsigned id, std::error_code answer, bool was_moved) {
    accepted_[id] = !answer;
    check(was_moved == accepted_[id], "accepted means moved from, refused means untouched");
    return accepted_[id];
  }
  void ran(unsigned id, const where& at = where::current()) {
    check(runs_[id]++ == 0, "no task runs twice");
    effects_[id](info(at)).store(id + 1);
    order_[count_++] = id;
  }
  /// What the task did is visible here.
  void sees(unsigned id, const where& at = where::current()) {
    check(runs_[id] == 1, "who waited for a task finds that it ran");
    check(effects_[id](info(at)).load() == id + 1, "who waited for a task sees its effect");
  }
  bool has_run(unsigned id) const { return runs_[id] != 0; }
  bool was_accepted(unsigned id) const { return accepted_[id]; }
  unsigned started() const { return count_; }
  /// The place of a task among those that started.
  unsigned place(unsigned id) const {
    for (unsigned i = 0; i < count_; ++i) {
      if (order_[i] == id) return i;
    }
    return most;
  }

  /// At the end. Of `discarded` tasks, accepted without having run, the pool has told.
  void check_all(unsigned discarded) {
    unsigned lost = 0;
    for (unsigned id = 0; id < most; ++id) {
      if (!accepted_[id]) check(runs_[id] == 0, "no refused task runs");
      if (accepted_[id] && runs_[id] == 0) ++lost;
    }
    check(lost == discarded, "each accepted task runs");
  }

  // The memory of tasks, wherever it lies: as a variable of Relacy.
  void read(const void* memory, const where& at) {
    static_cast<void>(cell(memory, at)(info(at)).load());
  }
  void write(const void* memory, const where& at) { cell(memory, at)(info(at)).store(1); }

 private:
  struct unmanaged : rl::context {
    static void memory(rl::context& c) { c.*(&unmanaged::disable_alloc_) = 1; }
  };

  rl::var<unsigned>& cell(const void* memory, const where& at) {
    for (std::size_t i = 0; i < cells_used_; ++i) {
      if (cells_[i].memory == memory) return *cells_[i].value;
    }
    check(cells_used_ < cells_.size(), "the model has room for every place of a task", at);
    cells_[cells_used_].memory = memory;
    cells_[cells_used_].value.emplace(0);
    return *cells_[cells_used_++].value;
  }
  struct memory_cell {
    const void* memory = nullptr;
    std::optional<rl::var<unsigned>> value;
  };
  std::array<memory_cell, 48> cells_;
  std::size_t cells_used_ = 0;
  std::array<rl::var<unsigned>, most> effects_;
  std::array<bool, most> accepted_{};
  std::array<unsigned, most> runs_{}, order_{};
  unsigned count_ = 0;
};

/// A callable whose memory the model watches.
template <class Body> class task {
 public:
  task(world& of, unsigned id, Body body) : world_(of), id_(id), body_(body) {
    world_.write(this, where::current());
  }
  task(task&& other) noexcept : world_(other.world_), id_(other.id_), body_(other.body_) {
    world_.read(&other, where::current());
    world_.write(&other, where::current());
    other.moved_ = true;
    world_.write(this, where::current());
  }
  ~task() { world_.write(this, where::current()); }
  task& operator=(task&&) = delete;

  void operator()() && {
    world_.read(this, where::current());
    world_.ran(id_);
    body_();
  }
  bool was_moved() const { return moved_; }

 private:
  world& world_;
  unsigned id_;
  bool moved_ = false;
  [[no_unique_address]] Body body_;
};

inline std::uint64_t executions = 0;

/// `Threads` simulated threads beside the pool's `Workers`.
template <class Self, int Threads, int Workers, std::size_t Buffer, class Policy = policy>
class scenario : public rl::test_suite<Self, Threads + Workers> {
 public:
  using pool_type = fanout::basic_pool<Policy>;

  void before() {
    fanout::options options{.workers = Workers, .buffer = Buffer};
    options.on_error = [this](const fanout::error_info&) { ++errors; };
    self().choose(options);
    pool.emplace(std::move(options));
    self().prepare();
  }
  void thread(unsigned index) {
    step::begin_thread();
    if (index < Threads) return self().run(static_cast<int>(index));
    model::thread::main(index - Threads);
  }
  void after() {
    const auto stats = pool->stats();
    check(pool->is_closed(), "every scenario closes its pool");
    check(stats.accepted == stats.completed + stats.failed + stats.discarded,
          "at rest, accepted == completed + failed + discarded");
    check(stats.failed == errors + rethrown, "each failure reaches on_error, or who waits");
    if (checks_tasks) tasks.check_all(static_cast<unsigned>(stats.discarded));
    self().finish();
    pool.reset();
    ++executions;
    if (!chosen.random && executions == chosen.limit) {
      rl::ctx().rl_until("the limit", info(where::current()));
    }
  }

  void choose(fanout::options&) {}
  void prepare() {}  // before the threads
  void finish() {}   // after them

 protected:
  static constexpr auto nothing = [] {};

  /// try_do, do_wait or another submitting function, as `submit(task)`; whether it accepted.
  template <class Submit, class Body = decltype(nothing)>
  bool submit_by(Submit submit, unsigned id, Body body = {}) {
    task<Body> f(tasks, id, body);
    const std::error_code answer = submit(std::move(f));
    last_answer = answer;
    return tasks.answered(id, answer, f.was_moved());
  }
  template <class Body = decltype(nothing)> bool try_do(unsigned id, Body body = {}) {
    return submit_by([this](auto&& f) { return pool->try_do(std::move(f)); }, id, body);
  }
  template <class Body = decltype(nothing)> bool do_wait(unsigned id, Body body = {}) {
    return submit_by([this](auto&& f) { return pool->do_wait(std::move(f)); }, id, body);
  }

  world tasks;
  std::optional<pool_type> pool;
  std::uint64_t errors = 0, rethrown = 0;  // by on_error, by a group's wait
  std::error_code last_answer;
  bool checks_tasks = true;

 private:
  Self& self() { return static_cast<Self&>(*this); }
};

// --- Running them -----------------------------------------------------------------------------

/// Prints the schedule that failed.
template <class S> bool simulate() {
  constexpr auto threads = S::params::thread_count;
  using random = rl::random_scheduler<threads>;
  using bounded = rl::context_bound_scheduler<threads>;
  std::ostringstream output, progress, state;
  rl::test_params params;
  params.output_stream = &output;
  params.progress_stream = &progress;
  params.search_type =
      chosen.random ? rl::random_scheduler_type : rl::fair_context_bound_scheduler_type;
  params.context_bound = chosen.bound;
  params.execution_depth_limit = 20000;
  params.initial_state = std::to_string(chosen.first).c_str();
  if (!chosen.random) params.initial_state += " 0 ";
  params.iteration_count = chosen.first + chosen.limit - 1;

  const auto run = [&](bool again) {
    return chosen.random ? rl::run_test<S, random>(params, state, again)
                         : rl::run_test<S, bounded>(params, state, again);
  };
  executions = 0;
  const auto result = run(false);
  const std::uint64_t done = executions;
  const bool cut = result == rl::test_result_until_condition_hit;
  const bool passed = result == rl::test_result_success || cut;
  if (!passed) {  // once more, with its history
    params.initial_state = state.str().c_str();
    params.collect_history = true;
    run(true);
    std::fputs(output.str().c_str(), stdout);
  }
  const char* const reach = chosen.random || !passed ? "" : cut ? ", not exhausted" : ", exhausted";
  std::printf("%llu executions%s: %s\n", static_cast<unsigned long long>(done), reach,
              rl::test_result_str(cut ? rl::test_result_success : result));
  return passed;
}

using registry = std::map<std::string, bool (*)()>;
inline registry& scenarios() {
  static registry all;
  return all;
}

/// FANOUT_MODEL_ONLY compiles one scenario and leaves the others out: a seed needs no more.
constexpr bool is_wanted([[maybe_unused]] std::string_view name) {
#if defined(FANOUT_MODEL_ONLY)
  return name == FANOUT_MODEL_ONLY;
#else
  return true;
#endif
}
template <class S, bool Wanted> struct add_scenario {
  explicit add_scenario([[maybe_unused]] const char* name) {
    if constexpr (Wanted) scenarios()[name] = &simulate<S>;
  }
};

}  // namespace model

#define FANOUT_MODEL_SCENARIO(name) \
  const model::add_scenario<name, model::is_wanted(#name)> add_##name(#name)

#endif  // FANOUT_TESTS_MODEL_HPP
