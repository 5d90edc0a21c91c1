// hash_tree DIR [--workers N] [--buffer N] [--deadline SECONDS]: sha256sum for a directory tree.
//
// Prints a line for each file, as sha256sum does, in the order in which the files are done, so that
// `sha256sum -c` verifies it. Symbolic links to files are read; those to directories are not
// entered. What is neither file nor directory, a dangling link included, is counted as skipped.
//
// Exit status: 0 all is well; 1 a file or directory could not be read, or stdout not written;
// 2 it could not start; 130 stopped by SIGINT or SIGTERM: accepted files get until the deadline,
// the rest is dropped and counted, and a second signal ends the program at once.

#include <fanout/fanout.hpp>

#include <openssl/evp.h>
#include <pthread.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct settings {
  std::string dir;
  std::size_t workers = std::max(1U, std::thread::hardware_concurrency());
  std::size_t buffer = 1024;
  unsigned deadline = 2;
};

struct release {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};

sigset_t signal_set(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}

void require(bool crypto_worked) {
  if (!crypto_worked) throw std::runtime_error{"libcrypto cannot compute SHA-256"};
}

// A name as sha256sum writes it: on one line.
std::string escaped(const std::string& name) {
  constexpr std::string_view special = "\\\n\r";
  std::string text;
  for (const char c : name) {
    const std::size_t at = special.find(c);
    if (at != special.npos) text += '\\';
    text += at == special.npos ? c : "\\nr"[at];
  }
  return text;
}

class tree_hasher {
 public:
  explicit tree_hasher(const settings& with) : settings_{with} {}

  int run() {
    bool saw_all = false;
    {
      const std::jthread attendant{[this](const std::stop_token& done) { attend(done); }};
      if (show_bar_) {
        walk(false, [this](const fs::directory_entry& entry) {
          std::error_code why;
          const std::uintmax_t size = entry.is_regular_file(why) ? entry.file_size(why) : 0;
          if (!why) bytes_in_all_ += size;
          return true;
        });
      }
      saw_all = walk(true, [this](const fs::directory_entry& entry) { return submit(entry); });
      pool_.close();  // runs all that was accepted, unless the attendant sets a deadline
    }
    if (std::fclose(stdout) != 0 && write_error_ == 0) write_error_ = errno;
    return sum_up(saw_all);
  }

 private:
  // Calls `visit` for all below the directory that is no directory itself, until it returns false
  // or the pool is closed. Returns whether it came to the end.
  template <class Visit> bool walk(bool report, Visit visit) {
    std::vector<fs::path> pending{settings_.dir};
    while (!pending.empty()) {
      const fs::path dir = pending.back();
      pending.pop_back();
      std::error_code why, ignored;
      for (fs::directory_iterator it{dir, why}, end; !why && it != end; it.increment(why)) {
        if (pool_.is_closed()) return false;
        if (it->symlink_status(ignored).type() == fs::file_type::directory) {
          pending.push_back(it->path());
        } else if (!visit(*it)) {
          return false;
        }
      }
      if (why && report) failed(escaped(dir.string()) + ": " + why.message(), why.message());
    }
    return true;
  }

  bool submit(const fs::directory_entry& entry) {
    std::error_code why;  // the task's fopen meets it again and reports it
    const fs::file_type type = entry.status(why).type();
    if (why ? type == fs::file_type::not_found : type != fs::file_type::regular) {
      ++skipped_;
      return true;
    }
    // A full buffer holds the walk back here; only a closed pool refuses.
    return !pool_.do_wait([this, name = entry.path().string()](const std::stop_token& stop) {
      hash(name, stop);  // a pointer and a string fit a slot: no allocation for the task
    });
  }

  // The task. What it throws arrives in task_failed.
  void hash(const std::string& name, const std::stop_token& stop) {
    thread_local std::vector<unsigned char> chunk(std::size_t{256} * 1024);
    const std::unique_ptr<std::FILE, release> file{std::fopen(name.c_str(), "rb")};
    if (!file) throw std::system_error{errno, std::generic_category(), escaped(name)};
    std::setvbuf(file.get(), nullptr, _IONBF, 0);
    const std::unique_ptr<EVP_MD_CTX, release> sha256{EVP_MD_CTX_new()};
    require(sha256 && EVP_DigestInit_ex(sha256.get(), EVP_sha256(), nullptr) == 1);
    for (std::size_t size = chunk.size(); size == chunk.size(); bytes_ += size) {
      if (stop.stop_requested()) {
        ++stopped_;
        return;
      }
      size = std::fread(chunk.data(), 1, chunk.size(), file.get());
      if (std::ferror(file.get()) != 0) {
        throw std::system_error{errno, std::generic_category(), escaped(name)};
      }
      require(EVP_DigestUpdate(sha256.get(), chunk.data(), size) == 1);
    }
    std::array<unsigned char, 32> digest;
    require(EVP_DigestFinal_ex(sha256.get(), digest.data(), nullptr) == 1);
    print(digest, name);
  }

  void print(const std::array<unsigned char, 32>& digest, const std::string& name) {
    const std::string shown = escaped(name);
    std::string line = shown == name ? "" : "\\";
    for (const unsigned char byte : digest) {
      line += "0123456789abcdef"[byte >> 4];
      line += "0123456789abcdef"[byte & 15];
    }
    line += "  " + shown + '\n';
    if (std::fwrite(line.data(), 1, line.size(), stdout) == line.size()) {  // one call, one piece
      ++files_;
    } else {
      int none = 0;
      write_error_.compare_exchange_strong(none, errno);
      pool_.request_stop();  // what cannot be printed need not be hashed
    }
  }

  void task_failed(const fanout::error_info& info) {
    try {
      std::rethrow_exception(info.error);
    } catch (const std::system_error& e) {
      failed(e.what(), e.code().message());
    } catch (const std::exception& e) {
      failed(e.what(), e.what());
    }
  }

  void failed(const std::string& what, const std::string& reason) {
    say(what);
    const std::lock_guard lock{mutex_};
    ++failures_[reason];
  }

  // Draws the bar, and takes the signals, since nothing in the pool may be called from a handler.
  void attend(const std::stop_token& done) {
    const std::stop_callback wake{done, [self = pthread_self()] { pthread_kill(self, SIGUSR1); }};
    const sigset_t ending = signal_set({SIGINT, SIGTERM});
    const sigset_t awaited = signal_set({SIGINT, SIGTERM, SIGUSR1});
    const timespec tick{show_bar_ ? 0 : 3600, 100'000'000};
    while (!done.stop_requested()) {
      const int signal = sigtimedwait(&awaited, nullptr, &tick);
      if (signal == SIGINT || signal == SIGTERM) {
        pthread_sigmask(SIG_UNBLOCK, &ending, nullptr);
        interrupted_ = true;
        say("stopping: accepted files get " + std::to_string(settings_.deadline) + " s");
        // Wakes a blocked submitter and shortens a close under way; stats() tell what came of it.
        static_cast<void>(pool_.close_for(std::chrono::seconds{settings_.deadline}));
        return;
      }
      if (show_bar_) draw_bar();
    }
  }

  void draw_bar() const {
    const double all = double(bytes_in_all_), done = std::min(double(bytes_), all);
    const double part = all > 0 ? done / all : 0;
    std::fprintf(stderr, "\r[%-40s] %3.0f%%  %.1f MB\033[K",
                 std::string(std::size_t(40 * part), '#').c_str(), 100 * part, done / 1e6);
  }

  void say(const std::string& text) const {
    const std::string line = (show_bar_ ? "\r\033[Khash_tree: " : "hash_tree: ") + text + '\n';
    std::fwrite(line.data(), 1, line.size(), stderr);
  }

  // The workers and the attendant have ended.
  int sum_up(bool saw_all) const {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
    const double megabytes = double(bytes_) / 1e6;
    std::uint64_t failed = 0;
    for (const auto& [reason, times] : failures_) {
      say(std::to_string(times) + " failed: " + reason);
      failed += times;
    }
    if (write_error_ != 0) say("stdout: " + std::generic_category().message(write_error_));
    if (const auto undone = pool_.stats().discarded + stopped_; undone != 0 || !saw_all) {
      say("left undone: " + std::to_string(undone) + " accepted files" +
          (saw_all ? "" : " and the rest of the tree"));
    }
    std::array<char, 100> volume;
    std::snprintf(volume.data(), volume.size(), " files, %.1f MB in %.2f s, %.1f MB/s; ", megabytes,
                  elapsed.count(), megabytes / elapsed.count());
    say(std::to_string(files_) + volume.data() + std::to_string(skipped_) + " skipped, " +
        std::to_string(failed) + " failed");
    if (interrupted_) return 130;
    return failed != 0 || write_error_ != 0 ? 1 : 0;
  }

  const settings settings_;
  const bool show_bar_ = isatty(STDERR_FILENO) == 1 && isatty(STDOUT_FILENO) == 0;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::atomic<std::uint64_t> files_{0}, bytes_{0}, bytes_in_all_{0}, stopped_{0};
  std::uint64_t skipped_ = 0;
  std::atomic<bool> interrupted_{false};
  std::atomic<int> write_error_{0};
  std::mutex mutex_;
  std::map<std::string, std::uint64_t> failures_;  // by reason

  // Last, so that its workers end before what they use.
  fanout::pool pool_{{
      .name = "hash",
      .workers = settings_.workers,
      .buffer = settings_.buffer,
      .on_error = [this](const fanout::error_info& info) { task_failed(info); },
  }};
};

}  // namespace

int main(int argc, char** argv) try {
  settings with;
  CLI::App app{"sha256sum for a directory tree, with a bounded pool"};
  app.add_option("DIR", with.dir, "the tree")->required()->check(CLI::ExistingDirectory);
  const auto digits = [](const std::string& text) {
    return text.find_first_not_of("0123456789") == text.npos ? "" : text + " is no whole number";
  };
  const auto number = [&](const char* name, auto& value, const char* meaning) {
    app.add_option(name, value, meaning)->check(digits)->capture_default_str();
  };
  number("--workers", with.workers, "threads that hash");
  number("--buffer", with.buffer, "files that may wait");
  number("--deadline", with.deadline, "seconds for accepted files after Ctrl-C");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }

  // The workers inherit this mask, so that signals wait for the attendant.
  const sigset_t attended = signal_set({SIGINT, SIGTERM, SIGUSR1});
  pthread_sigmask(SIG_BLOCK, &attended, nullptr);
  std::signal(SIGINT, SIG_DFL);   // scripts ignore it for what they run in the background
  std::signal(SIGPIPE, SIG_IGN);  // a closed stdout is a write error
  return tree_hasher{with}.run();
} catch (const std::exception& e) {
  std::fprintf(stderr, "hash_tree: %s\n", e.what());
  return 2;
}
