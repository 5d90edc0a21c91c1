// asio_offload [MISTAKE]: from a coroutine of Asio, runs blocking functions on a fanout::pool and comes
// back to its own executor with the result, the exception, the refusal or the discard; Asio's
// cancellation reaches the function's stop token. And an executor of Asio's on the pool.

#define ASIO_STANDALONE
#include <asio.hpp>

#include <fanout/fanout.hpp>

#include <atomic>
#include <cstdio>
#include <exception>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

/// What to copy, first part. The function runs on the pool, with a stop token that fires with the
/// pool's and with Asio's cancellation.
template <class Function, class Handler> class offloaded : public fanout::discardable {
 public:
  using result = std::invoke_result_t<Function&, std::stop_token>;

  offloaded(Function function, Handler handler, asio::any_io_executor home)
      : all_(std::make_unique<parts>(std::move(function), std::move(handler), std::move(home))) {
    auto slot = asio::get_associated_cancellation_slot(all_->handler);
    if (slot.is_connected()) {
      slot.assign([stop = all_->stop](asio::cancellation_type) mutable { stop.request_stop(); });
    }
  }

  void operator()(const std::stop_token& pool_stops) {
    const std::stop_callback forward(pool_stops, [this] { all_->stop.request_stop(); });
    std::optional<result> value;
    std::exception_ptr failure;
    try {
      value.emplace(all_->function(all_->stop.get_token()));
    } catch (...) {
      failure = std::current_exception();
    }
    complete(failure, std::move(value));
  }
  void discard() noexcept { fail(make_error_code(fanout::errc::canceled)); }
  void fail(std::error_code why) noexcept {
    complete(std::make_exception_ptr(std::system_error(why)), std::nullopt);
  }

 private:
  struct parts {
    Function function;
    Handler handler;
    asio::executor_work_guard<asio::any_io_executor> home;  // which has work until this is back
    std::stop_source stop;
    parts(Function f, Handler h, asio::any_io_executor e)
        : function(std::move(f)), handler(std::move(h)), home(std::move(e)) {}
  };
  void complete(std::exception_ptr failure, std::optional<result> value) noexcept {
    auto home = all_->home.get_executor();
    asio::post(home, [all = std::move(all_), failure, value = std::move(value)]() mutable {
      asio::get_associated_cancellation_slot(all->handler).clear();
      std::move(all->handler)(failure, value ? std::move(*value) : result());
    });
  }
  std::unique_ptr<parts> all_;
};

template <class Function>
asio::awaitable<std::invoke_result_t<Function&, std::stop_token>> offload(fanout::pool& pool,
                                                                          Function function) {
  using result = std::invoke_result_t<Function&, std::stop_token>;
  auto home = co_await asio::this_coro::executor;
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>,
                                          void(std::exception_ptr, result)>(
      [&pool, home](auto handler, Function f) {
        offloaded<Function, decltype(handler)> job(std::move(f), std::move(handler), home);
        if (auto err = pool.try_do(std::move(job))) job.fail(err);  // refused means untouched
      },
      asio::use_awaitable, std::move(function));
}

/// What to copy, second part. An executor whose execute() never throws. When the pool is full, it runs
/// the function on the caller; required to be blocking.never, as asio::post does, it waits for room
/// instead. What even then cannot be accepted, on a worker or by a closed pool, runs on the caller.
class pool_executor {
 public:
  pool_executor(fanout::pool& pool, asio::execution_context& context, bool waits = false) noexcept
      : pool_(&pool), context_(&context), waits_(waits) {}

  template <class Function> void execute(Function&& function) const noexcept {
    using held = std::decay_t<Function>;
    auto task = [f = std::make_unique<held>(std::forward<Function>(function))]() mutable {
      std::move (*f)();
    };
    const auto err = waits_ ? pool_->do_wait(std::move(task)) : pool_->try_do(std::move(task));
    if (err) std::move(task)();
  }

  asio::execution_context& query(asio::execution::context_t) const noexcept { return *context_; }
  asio::execution::blocking_t query(asio::execution::blocking_t) const noexcept {
    if (waits_) return asio::execution::blocking.never;
    return asio::execution::blocking.possibly;
  }
  pool_executor require(asio::execution::blocking_t::never_t) const noexcept {
    return {*pool_, *context_, true};
  }
  pool_executor require(asio::execution::blocking_t::possibly_t) const noexcept {
    return {*pool_, *context_, false};
  }
  friend bool operator==(const pool_executor&, const pool_executor&) noexcept = default;

 private:
  fanout::pool* pool_;
  asio::execution_context* context_;
  bool waits_;
};

// --- The example

template <class Function>
asio::awaitable<void> tell(const char* what, fanout::pool& pool, Function function) {
  try {
    const int answer = co_await offload(pool, std::move(function));
    std::printf("%s: %d\n", what, answer);
  } catch (const std::exception& e) {
    std::printf("%s: %s\n", what, e.what());
  }
}

int until_stopped(const std::stop_token& stop) {
  std::latch told{1};
  const std::stop_callback on_stop(stop, [&] { told.count_down(); });
  told.wait();
  return -1;
}

int main(int count, char**) {
  if (count > 1) {
    std::fputs("usage: asio_offload\n", stderr);
    return 2;
  }
  asio::io_context io;
  fanout::pool pool{{.name = "blocking", .workers = 1, .buffer = 1}};
  const auto spawn = [&](const char* what, auto function) {
    asio::co_spawn(io, tell(what, pool, std::move(function)), asio::detached);
    io.restart();
    io.run();
  };
  const auto home = std::this_thread::get_id();
  spawn("result", [home](const std::stop_token&) { return std::this_thread::get_id() != home; });
  spawn("exception", [](const std::stop_token&) -> int { throw std::runtime_error("disk full"); });

  std::atomic<int> started{0};
  const auto runs = [&](const std::stop_token& stop) {
    ++started;
    return until_stopped(stop);
  };
  const auto poll_until_started = [&](int wanted) {
    io.restart();
    while (started != wanted) io.poll();
  };

  // Asio's cancellation stops the function.
  asio::cancellation_signal cancel;
  asio::co_spawn(io, tell("canceled by asio", pool, runs),
                 asio::bind_cancellation_slot(cancel.slot(), asio::detached));
  poll_until_started(1);
  cancel.emit(asio::cancellation_type::terminal);
  io.run();

  // One runs, one waits, the third is refused; then what waits is dropped, and what runs is stopped.
  asio::co_spawn(io, tell("runs", pool, runs), asio::detached);
  poll_until_started(2);
  const auto one = [](const std::stop_token&) { return 1; };
  asio::co_spawn(io, tell("waits", pool, one), asio::detached);
  asio::co_spawn(io, tell("comes too late", pool, one), asio::detached);
  io.poll();
  pool.purge();
  pool.request_stop();
  io.run();

  // The executor: a strand's functions on two workers, one after another.
  fanout::pool compute{{.name = "compute", .workers = 2, .buffer = 2}};
  auto strand = asio::make_strand(pool_executor(compute, io));
  std::atomic<int> inside{0}, ran{0}, together{0};
  for (int i = 0; i < 100; ++i) {
    asio::post(strand, [&] {
      if (++inside != 1) ++together;
      ++ran;
      --inside;
    });
  }
  while (ran != 100) std::this_thread::yield();
  compute.close();
  std::printf("strand: %d ran, %d side by side\n", ran.load(), together.load());
}
