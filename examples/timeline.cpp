// timeline FILE: writes what a pool did as Chrome's trace events, which Perfetto (ui.perfetto.dev) opens:
// per thread the submissions, runs and refusals, per task its wait, and arrows from submitter to worker.

#include <fanout/fanout.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

/// The events of the process. A trace has one line each.
class timeline {
 public:
  static double now() {
    return std::chrono::duration<double, std::micro>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  static unsigned thread() {
    static std::atomic<unsigned> threads{0};
    static thread_local const unsigned number = ++threads;
    return number;
  }
  void add(const char* phase, const char* name, unsigned on, double at, double lasts,
           std::uint64_t id) {
    char line[256];
    std::snprintf(line, sizeof line,
                  R"({"ph":"%s","name":"%s","cat":"task","pid":1,"tid":%u,"ts":%.3f,"dur":%.3f,)"
                  R"("id":%ju,"bp":"e","s":"t"})",
                  phase, name, on, at, lasts, std::uintmax_t{id});
    const std::lock_guard hold(mutex_);
    lines_.emplace_back(line);
  }
  bool write(const char* file) {
    std::FILE* const out = std::fopen(file, "w");
    if (out == nullptr) return false;
    std::fputs("[\n", out);
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      std::fprintf(out, "%s%s\n", lines_[i].c_str(), i + 1 < lines_.size() ? "," : "]");
    }
    return std::fclose(out) == 0;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};
timeline trace;  // ends after the pools, which are main's

/// What to copy: the context of each task, made as it is submitted, entered as it runs.
struct traced_task {
  std::uint64_t id;
  unsigned submitter;
  double submitted;

  static traced_task capture() noexcept {
    static std::atomic<std::uint64_t> tasks{0};
    return {++tasks, timeline::thread(), timeline::now()};
  }
  auto enter() const {
    struct run {
      traced_task task;
      double began = timeline::now();
      explicit run(const traced_task& of) : task(of) {}
      run(const run&) = delete;
      run& operator=(const run&) = delete;
      ~run() {
        trace.add("s", "submitted", task.submitter, task.submitted, 0, task.id);
        trace.add("b", "wait", task.submitter, task.submitted, 0, task.id);
        trace.add("e", "wait", task.submitter, began, 0, task.id);
        trace.add("f", "submitted", timeline::thread(), began, 0, task.id);
        trace.add("X", "run", timeline::thread(), began, timeline::now() - began, task.id);
      }
    };
    return run(*this);
  }
};
struct traced : fanout::default_policy {
  using context = traced_task;
};
using pool = fanout::basic_pool<traced>;

/// Submits, and shows how long that took and whether it was refused.
template <class Task> void submit(pool& to, Task task) {
  const double began = timeline::now();
  const auto err = to.try_do(std::move(task));
  trace.add("X", "submit", timeline::thread(), began, timeline::now() - began, 0);
  if (err) trace.add("i", err.message().c_str(), timeline::thread(), timeline::now(), 0, 0);
}

int main(int count, char** words) {
  if (count != 2) {
    std::fputs("usage: timeline FILE\n", stderr);
    return 2;
  }
  pool work{{.name = "work", .workers = 2, .buffer = 8}};
  {
    const auto client = [&work] {
      for (int i = 0; i < 50; ++i) {
        submit(work, [] { std::this_thread::sleep_for(200us); });  // as a disk would
        if (i % 10 == 9) std::this_thread::sleep_for(1ms);
      }
    };
    const std::jthread one(client), two(client);
  }
  work.close();
  if (!trace.write(words[1])) {
    std::perror(words[1]);
    return 1;
  }
  const auto stats = work.stats();
  std::printf("%ju runs, %ju refusals\n", std::uintmax_t{stats.completed},
              std::uintmax_t{stats.rejected});
}
