// httplib_queue PORT WORKERS BUFFER [own]: cpp-httplib's server on a fanout::pool, or with `own` on its
// own thread pool. On 127.0.0.1; port 0 is any free one. SIGINT and SIGTERM end it.
//
// httplib hands every accepted connection to its queue, and its own pool queues without bound. Here a
// full pool sheds: what it refuses is untouched, so the accepting thread takes it and answers 503. For
// that it reads the request, from a client that may be slow: the server's read timeout is short.

#include <fanout/fanout.hpp>

#include <httplib.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string_view>
#include <thread>
#include <utility>

#include <pthread.h>

/// What to copy: httplib deletes it after shutdown().
class bounded_queue final : public httplib::TaskQueue {
 public:
  bounded_queue(std::size_t workers, std::size_t buffer)
      : pool_({.name = "http", .workers = workers, .buffer = buffer}) {}

  void enqueue(std::function<void()> serve) override {
    if (!pool_.try_do(std::move(serve))) return;
    refused_.fetch_add(1, std::memory_order_relaxed);
    sheds = true;
    serve();  // NOLINT(bugprone-use-after-move): refused means untouched
    sheds = false;
  }
  /// For the server: answers 503 what no worker has room for.
  static httplib::Server::HandlerResponse shed(const httplib::Request&, httplib::Response& answer) {
    if (!sheds) return httplib::Server::HandlerResponse::Unhandled;
    answer.status = 503;
    answer.set_header("Retry-After", "1");
    return httplib::Server::HandlerResponse::Handled;
  }
  /// Everything that was accepted is answered.
  void shutdown() override {
    pool_.close();
    const auto stats = pool_.stats();
    std::printf("%llu connections answered, %llu shed\n",
                static_cast<unsigned long long>(stats.completed),
                static_cast<unsigned long long>(refused_.load()));
  }

 private:
  inline static thread_local bool sheds = false;
  fanout::pool pool_;
  std::atomic<std::uint64_t> refused_{0};
};

/// The whole of `text` as a number of at most `limit`, or -1.
int number(std::string_view text, int limit) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  return whole && value >= 0 && value <= limit ? value : -1;
}

int main(int count, char** words) {
  const bool own = count == 5 && std::string_view(words[4]) == "own";
  const int port = count > 3 ? number(words[1], 65535) : -1;
  const int workers = count > 3 ? number(words[2], 1000) : -1;
  const int buffer = count > 3 ? number(words[3], 1'000'000) : -1;
  if (port < 0 || workers < 1 || buffer < 1 || count > 5 || (count == 5 && !own)) {
    std::fputs("usage: httplib_queue PORT WORKERS BUFFER [own]\n", stderr);
    return 2;
  }

  // Before any thread: the signals come to the thread that waits for them.
  sigset_t ends;
  sigemptyset(&ends);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&ends, signal);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  httplib::Server server;
  server.set_socket_options([](socket_t) {});  // not SO_REUSEPORT: a port in use is an error
  server.set_read_timeout(std::chrono::milliseconds(500));
  server.set_pre_routing_handler(bounded_queue::shed);
  server.set_keep_alive_max_count(1);  // so that no worker waits for a client's next request
  server.new_task_queue = [&]() -> httplib::TaskQueue* {
    const auto threads = static_cast<std::size_t>(workers);
    if (own) return new httplib::ThreadPool(threads);
    return new bounded_queue(threads, static_cast<std::size_t>(buffer));
  };
  server.Get("/work", [](const httplib::Request&, httplib::Response& answer) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    answer.set_content("done\n", "text/plain");
  });
  const int bound = port == 0 ? server.bind_to_any_port("127.0.0.1")
                              : (server.bind_to_port("127.0.0.1", port) ? port : -1);
  if (bound < 0) {
    std::fprintf(stderr, "port %d is taken\n", port);
    return 1;
  }
  std::printf("listening on http://127.0.0.1:%d\n", bound);
  std::fflush(stdout);
  std::thread stopper([&] {
    int signal = 0;
    sigwait(&ends, &signal);
    server.stop();
  });
  server.listen_after_bind();
  stopper.join();
}
