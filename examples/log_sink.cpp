// log_sink FILE LINES block|discard|overrun: an asynchronous sink for spdlog on a pool with one worker.
// When the buffer is full, the caller waits, the new line is discarded, or the oldest is overrun. Lines
// keep their order, and written + lost = offered, to the line, also when the program returns from main.

#include <fanout/fanout.hpp>

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

enum class when_full { block, discard, overrun };

/// What to copy. Hands each line, formatted, to another sink on the pool's worker.
class pool_sink final : public spdlog::sinks::sink {
 public:
  pool_sink(std::shared_ptr<spdlog::sinks::sink> to, std::size_t buffer, when_full how)
      : to_(std::move(to)),
        how_(how),
        pool_(
            {.name = "log", .workers = 1, .buffer = buffer, .on_worker_idle = [this](std::size_t) {
               to_->flush();
             }}) {}
  ~pool_sink() override { pool_.close(); }

  void log(const spdlog::details::log_msg& line) override {
    // The message is the caller's memory: the task takes a copy of what it needs.
    auto write = [to = to_.get(), level = line.level, time = line.time,
                  text = std::string(line.payload.data(), line.payload.size())] {
      to->log(spdlog::details::log_msg(time, {}, {}, level, text));
    };
    std::error_code err;
    // NOLINTBEGIN(bugprone-use-after-move): refused means untouched
    do {  // full, of an eviction: another thread was at that very slot
      err = how_ == when_full::block     ? pool_.do_wait(std::move(write))
            : how_ == when_full::discard ? pool_.try_do(std::move(write))
                                         : pool_.do_evict(std::move(write));
    } while (how_ == when_full::overrun && err == fanout::ErrFull);
    // NOLINTEND(bugprone-use-after-move)
    if (err) refused_.fetch_add(1, std::memory_order_relaxed);
  }
  /// Returns when everything logged before is written.
  void flush() override {
    if (how_ != when_full::overrun) return pool_.submit_wait([this] { to_->flush(); }).get();
    pool_.wait_idle();  // what waits for its turn may be overrun, and so might this
    to_->flush();
  }
  void set_pattern(const std::string& pattern) override { to_->set_pattern(pattern); }
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override {
    to_->set_formatter(std::move(formatter));
  }
  std::uint64_t lost() const { return refused_ + pool_.stats().discarded; }

 private:
  const std::shared_ptr<spdlog::sinks::sink> to_;
  const when_full how_;
  std::atomic<std::uint64_t> refused_{0};
  fanout::pool pool_;  // last: its tasks use what stands above
};

int main(int count, char** words) try {
  const std::string_view how = count == 4 ? words[3] : "";
  const std::string_view digits = count == 4 ? words[2] : "";
  std::uint64_t lines = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), lines);
  const bool known = how == "block" || how == "discard" || how == "overrun";
  if (!known || error != std::errc{} || end != digits.data() + digits.size() || lines == 0) {
    std::fputs("usage: log_sink FILE LINES block|discard|overrun\n", stderr);
    return 2;
  }
  const auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(words[1], true);
  const auto sink = std::make_shared<pool_sink>(file, 1024,
                                                how == "block"     ? when_full::block
                                                : how == "discard" ? when_full::discard
                                                                   : when_full::overrun);
  spdlog::logger log("example", sink);
  log.set_pattern("%v");
  for (std::uint64_t i = 1; i <= lines; ++i) log.info("{}", i);
  log.flush();
  std::printf("%llu lines offered, %llu lost\n", static_cast<unsigned long long>(lines),
              static_cast<unsigned long long>(sink->lost()));
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
