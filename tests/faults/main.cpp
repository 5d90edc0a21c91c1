// faults [ROW]: injects every fault, or that of one row, each in a process of its own, and prints
// the table of what was expected and what was seen. 1 when they differ anywhere.

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "faults.hpp"

namespace faults {
std::vector<fault>& all() {
  static std::vector<fault> rows;
  return rows;
}

int report_to = -1;

void say(const std::string& text) {
  if (::write(report_to, text.data(), text.size()) < 0) std::abort();
}
}  // namespace faults

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

constexpr auto patience = 60s;  // a hang is an outcome, too

struct outcome {
  std::string seen, written;  // written to stderr
};

std::string contents(std::FILE* file) {
  std::string text;
  std::rewind(file);
  std::array<char, 4096> part;
  while (const std::size_t n = std::fread(part.data(), 1, part.size(), file)) {
    text.append(part.data(), n);
  }
  return text;
}

/// The lines of `text` that this library wrote, without its name.
std::vector<std::string> own_lines(const std::string& text) {
  constexpr std::string_view name = "fanout: ";
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (text.compare(at, name.size(), name) == 0) {
      lines.push_back(text.substr(at + name.size(), end - at - name.size()));
    }
    at = end + 1;
  }
  return lines;
}

/// Reads what the child says until it ends; false when it takes too long.
bool listen(int from, std::string& text) {
  const auto deadline = clock_type::now() + patience;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock_type::now());
    pollfd what{from, POLLIN, 0};
    if (left < 0s || ::poll(&what, 1, static_cast<int>(left.count())) == 0) return false;
    std::array<char, 4096> part;
    const ssize_t n = ::read(from, part.data(), part.size());
    if (n <= 0) return true;
    text.append(part.data(), static_cast<std::size_t>(n));
  }
}

/// Runs the row in a child: this program, started anew.
outcome inject(std::size_t row) {
  std::array<int, 2> ends{};
  std::FILE* const errors = std::tmpfile();
  if (errors == nullptr || ::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ::fileno(errors), STDERR_FILENO);
  std::string program = "faults", word = "--inject", number = std::to_string(row);
  std::array<char*, 4> words{program.data(), word.data(), number.data(), nullptr};
  pid_t child = 0;
  if (::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, words.data(), environ) != 0) {
    std::abort();
  }
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);

  outcome result;
  const bool ended = listen(ends[0], result.seen);
  if (!ended) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(ends[0]);
  result.written = contents(errors);
  std::fclose(errors);

  const auto lines = own_lines(result.written);
  if (!ended) {
    result.seen = "hangs";
  } else if (WIFSIGNALED(status)) {
    result.seen = WTERMSIG(status) == SIGABRT ? "SIGABRT" : ::strsignal(WTERMSIG(status));
    if (!lines.empty()) result.seen += ": " + lines.back();
  } else if (WEXITSTATUS(status) != 0) {
    result.seen = "exit status " + std::to_string(WEXITSTATUS(status));
  } else if (!lines.empty()) {
    result.seen += ", " + std::to_string(lines.size()) + (lines.size() == 1 ? " line" : " lines");
    result.seen += " on stderr";
  }
  return result;
}

int run_in_child(std::size_t row) {
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  faults::report_to = ::dup(STDOUT_FILENO);
  if (::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return 1;
  faults::say(faults::all().at(row).run());
  return 0;
}

}  // namespace

int main(int count, char** words) {
  if (count == 3 && std::strcmp(words[1], "--inject") == 0) {
    return run_in_child(std::strtoul(words[2], nullptr, 10));
  }
  const std::size_t only = count == 2 ? std::strtoul(words[1], nullptr, 10) : 0;
  const auto& rows = faults::all();
  if (count > 2 || only > rows.size() || (count == 2 && only == 0)) {
    std::fprintf(stderr, "faults [ROW]; rows are 1 to %zu\n", rows.size());
    return 2;
  }
  ::setenv("FANOUT_TEST_SEED", std::to_string(support::seed()).c_str(), 1);  // for the children
  std::printf("%3s  %-32s | %-62s | %-69s | %s\n", "", "case", "injected", "expected", "seen");
  std::size_t injected = 0, survived = 0, aborted = 0, skipped = 0, wrong = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (only != 0 && i + 1 != only) continue;
    const outcome result = inject(i);
    const bool skips = result.seen.compare(0, 9, "skipped: ") == 0;
    const bool right = skips || result.seen == rows[i].expected;
    std::printf("%3zu  %-32s | %-62s | %-69s | %s\n", i + 1, rows[i].where.c_str(),
                rows[i].injected.c_str(), rows[i].expected.c_str(),
                result.seen == rows[i].expected ? "the same" : result.seen.c_str());
    if (!right) std::printf("     WRONG\n%s\n", result.written.c_str());
    std::fflush(stdout);
    wrong += !right;
    skipped += skips;
    injected += !skips;
    const bool aborts = result.seen.compare(0, 7, "SIGABRT") == 0;
    aborted += right && !skips && aborts;
    survived += right && !skips && !aborts;
  }
  std::printf(
      "%zu faults injected: %zu survived, %zu ended in the abort that the contract "
      "announces, %zu WRONG; %zu not possible here\n",
      injected, survived, aborted, wrong, skipped);
  return wrong == 0 ? 0 : 1;
}
