// http_server PORT [DEADLINE_MS [WAKE_DELAY_MS]]: /work hands a job to a pool and answers 202, or 503 when the
// pool is full; /metrics tells Prometheus. On 127.0.0.1; port 0 is any free one.
//
// SIGINT, SIGTERM and SIGQUIT end it: what was accepted runs within the deadline (2,000 ms). A job that
// ignores its stop token, as that of /stuck does, is named half a second later, and the status is 3.

#include <fanout/fanout.hpp>

#include <httplib.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <pthread.h>

#include <charconv>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using timed_pool = fanout::basic_pool<fanout::timed_policy>;

/// The families of one pool, in Prometheus's own terms.
class families {
 public:
  explicit families(const timed_pool& pool) : pool_(pool.name()) {}

  void add(const char* name, const char* help, prometheus::MetricType type, double value,
           const char* label = "pool") {
    prometheus::ClientMetric metric;
    metric.label = {{label, pool_}};
    (type == prometheus::MetricType::Gauge ? metric.gauge.value : metric.counter.value) = value;
    all_.push_back({name, help, type, {std::move(metric)}});
  }

  /// The pool counts by powers of two of a nanosecond and keeps no sum: this one is estimated.
  void add(const char* name, const char* help, const fanout::histogram& times) {
    prometheus::ClientMetric metric;
    metric.label = {{"pool", pool_}};
    auto& [count, sum, buckets] = metric.histogram;
    for (std::size_t i = 0; i < times.buckets().size(); ++i) {
      const double end = std::chrono::duration<double>(times.upper_end(i)).count();
      count += times.buckets()[i];
      sum += 0.75 * end * static_cast<double>(times.buckets()[i]);
      if (i >= 10 && i <= 34) buckets.push_back({count, end});  // 1 us to 17 s
    }
    all_.push_back({name, help, prometheus::MetricType::Histogram, {std::move(metric)}});
  }

  std::string text() const { return prometheus::TextSerializer{}.Serialize(all_); }

 private:
  const std::string pool_;
  std::vector<prometheus::MetricFamily> all_;
};

std::string metrics_of(const timed_pool& pool) {
  using enum prometheus::MetricType;
  const auto now = pool.stats();
  const auto queued = static_cast<double>(now.queued);
  const auto processed = static_cast<double>(now.completed + now.failed);
  families all{pool};
  all.add("fanout_queue_length", "Tasks that wait.", Gauge, queued);
  all.add("fanout_processed_total", "Tasks that have run.", Counter, processed);
  all.add("fanout_failed_total", "Tasks that threw.", Counter, static_cast<double>(now.failed));
  all.add("fanout_discarded_total", "Dropped.", Counter, static_cast<double>(now.discarded));
  all.add("fanout_rejected_total", "Refused: full.", Counter, static_cast<double>(now.rejected));
  all.add("fanout_wait_seconds", "From acceptance to start; the sum is estimated.", now.wait_time);
  all.add("fanout_run_seconds", "From start to end; the sum is estimated.", now.run_time);
  // The names that dashboards for the Go original ask for.
  all.add("sync_pipeline_fanout_chan_len", "Tasks that wait.", Gauge, queued, "name");
  all.add("sync_pipeline_fanout_process_count", "Tasks that have run.", Counter, processed, "name");
  return all.text();
}

/// The whole of `text` as a number of at most `limit`, or -1.
int number(std::string_view text, int limit) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value <= limit ? value : -1;
}

/// Ends the program when the time is over before this is: names the task that is in the way.
std::jthread exit_after(std::chrono::milliseconds time, const timed_pool& pool) {
  return std::jthread([time, &pool](const std::stop_token& is_closed) {
    std::mutex mutex;
    std::unique_lock hold(mutex);
    std::condition_variable_any never;
    never.wait_for(hold, is_closed, time, [] { return false; });
    if (is_closed.stop_requested()) return;
    if (const auto stuck = pool.stats().longest_running) {
      std::printf("stuck for %.1f s: the task of %s:%u\n",
                  std::chrono::duration<double>(stuck->elapsed).count(), stuck->where.file_name(),
                  static_cast<unsigned>(stuck->where.line()));
      std::fflush(stdout);
    }
    std::_Exit(3);  // no destructors: they would wait for it
  });
}

int main(int argc, char** argv) {
  const int port = argc >= 2 ? number(argv[1], 65535) : -1;
  const int deadline = argc >= 3 ? number(argv[2], 3'600'000) : 2000;
  const int wake_delay = argc >= 4 ? number(argv[3], 1000) : 0;
  if (argc > 4 || port < 0 || deadline < 0 || wake_delay < 0) {
    std::fputs("usage: http_server PORT [DEADLINE_MS [WAKE_DELAY_MS]]\n", stderr);
    return 2;
  }
  // Every thread inherits this mask, so that the signals wait for sigwait below.
  sigset_t ending;
  sigemptyset(&ending);
  for (const int signal : {SIGINT, SIGTERM, SIGQUIT}) {
    sigaddset(&ending, signal);
    std::signal(signal, SIG_DFL);  // scripts ignore some for what they run in the background
  }
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);

  timed_pool pool{{.name = "work",
                   .workers = 2,
                   .buffer = 256,
                   .wake_delay = std::chrono::milliseconds(wake_delay)}};
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(16); };
  server.set_socket_options([](socket_t) {});  // not SO_REUSEPORT: a port in use is an error
  server.set_keep_alive_max_count(1'000'000);
  server.set_keep_alive_timeout(1);
  server.Get("/work", [&](const httplib::Request&, httplib::Response& response) {
    const auto err = pool.try_do([] { std::this_thread::sleep_for(1ms); });  // as a disk would
    response.status = err ? 503 : 202;
    if (err == fanout::ErrFull) response.set_header("Retry-After", "1");
  });
  server.Get("/stuck", [&](const httplib::Request&, httplib::Response& response) {
    response.status = pool.try_do([] { std::this_thread::sleep_for(1h); }) ? 503 : 202;
  });
  server.Get("/metrics", [&](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics_of(pool), "text/plain; version=0.0.4");
  });

  const int bound = port == 0 ? server.bind_to_any_port("127.0.0.1")
                              : (server.bind_to_port("127.0.0.1", port) ? port : -1);
  if (bound < 0) {
    std::fprintf(stderr, "http_server: port %d of 127.0.0.1 is not to be had\n", port);
    return 2;
  }
  std::jthread listener{[&] { server.listen_after_bind(); }};
  std::printf("listening on http://127.0.0.1:%d\n", bound);
  std::fflush(stdout);

  int signal = 0;
  sigwait(&ending, &signal);
  while (!server.is_running()) std::this_thread::yield();  // stop() forgets what has not begun
  server.stop();
  listener.join();  // no request is under way any more
  auto guard = exit_after(std::chrono::milliseconds{deadline} + 500ms, pool);
  const auto late = pool.close_for(std::chrono::milliseconds{deadline});
  guard.request_stop();
  const auto end = pool.stats();
  std::printf("accepted %ju, done %ju, discarded %ju, refused %ju%s\n",
              std::uintmax_t{end.accepted}, std::uintmax_t{end.completed + end.failed},
              std::uintmax_t{end.discarded}, std::uintmax_t{end.rejected},
              late ? ": the deadline came first" : "");
  return late ? 1 : 0;
}
