// Without exceptions and RTTI the pool keeps its contract, and a bad option prints and aborts.
#include <fanout/fanout.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <string>

namespace {

int failures = 0;

void expect(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", claim);
  ++failures;
}

// What a child that makes a pool with these options writes to stderr, and whether it aborted.
struct outcome {
  std::string text;
  bool aborted = false;
};

outcome make_pool_in_child(fanout::options opts) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return {"no pipe", false};
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], 2);
    const fanout::pool unused{std::move(opts)};
    ::_exit(0);
  }
  ::close(ends[1]);
  outcome result;
  std::array<char, 256> buffer{};
  for (ssize_t n = 0; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    result.text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  result.aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  return result;
}

}  // namespace

int main() {
  const outcome refused = make_pool_in_child({.workers = 0});
  expect(refused.aborted, "a bad option aborts");
  expect(refused.text == "fanout: options::workers is 0; it must be 1 to 32767\n",
         "it prints what the exception would say");

  std::atomic<int> ran = 0;
  fanout::pool pool{{.name = "plain", .workers = 2, .buffer = 4}};
  for (int i = 0; i < 1000; ++i) {
    expect(!pool.do_wait([&ran] { ++ran; }), "do_wait accepts");
  }
  expect(!pool.wait_idle(), "wait_idle succeeds");
  expect(ran == 1000, "every task ran");
  expect(!pool.close(), "close succeeds");
  expect(pool.try_do([] {}) == fanout::ErrClosed, "a closed pool refuses");
  return failures == 0 ? 0 : 1;
}
