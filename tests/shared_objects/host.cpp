// A program and its plugin use fanout: codes compare, the answer to "am I on a worker of this pool"
// is the same in both, and a plugin whose pools have ended can be unloaded.
//
//   host PLUGIN local|global     loads it, twice
//   host_linked                  is linked with it

#include "plugin.hpp"

#include <cstdio>
#include <cstdlib>
#include <future>
#include <latch>
#include <string_view>

#if !defined(FANOUT_TESTS_LINKED)
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

void claim(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::_Exit(1);
}

using fanout::errc;

/// On a worker of `host`, whose buffer is full, each answers would_deadlock.
void claim_would_deadlock(const plugin& other, fanout::pool& host) {
  claim(other.do_wait(host) == errc::would_deadlock, "do_wait of the other would deadlock");
  claim(other.wait_idle(host) == errc::would_deadlock, "wait_idle of the other would deadlock");
  claim(other.close(host) == errc::would_deadlock, "close of the other would deadlock");
}

void try_all(const plugin& other) {
  {
    std::latch go{1}, runs{1}, over{1};
    fanout::pool host{{.name = "host", .buffer = 1}};
    claim(!host.try_do([&] {
      runs.count_down();
      go.wait();
      claim_would_deadlock(other, host);
      over.count_down();
    }),
          "an empty pool accepts");
    runs.wait();
    claim(!host.try_do([] {}), "a buffer of one holds one");
    const std::error_code full = host.try_do([] {});
    claim(full == fanout::ErrFull && other.is_full(full), "the host's code is full to both");
    claim(other.full_code() == fanout::ErrFull, "the plugin's code is full to the host");
    go.count_down();
    over.wait();
    claim(!host.close(), "the owner's close joins");
  }
  {
    std::latch go{1}, runs{1};
    fanout::pool host{{.name = "host", .buffer = 1}};
    static_cast<void>(host.try_do([&] {
      runs.count_down();
      go.wait();
    }));
    runs.wait();
    static_cast<void>(host.try_do([] {}));
    {
      fanout::group g{host};
      claim(!g.try_do([&] { claim_would_deadlock(other, host); }), "an empty group accepts");
      claim(!g.wait(), "a waiter runs the tasks of its group");
    }
    go.count_down();
  }
  claim(other.use_own_pool(), "a pool of the plugin's works");
  auto* const theirs = other.make_pool();
  claim(
      !theirs->try_do([&] { claim(theirs->close() == errc::would_deadlock, "the host knows it"); }),
      "a pool that the plugin made accepts");
  delete theirs;
  auto* const ours = new fanout::pool{{.name = "host's"}};
  claim(!ours->try_do([&] { claim(other.close(*ours) == errc::would_deadlock, "so does it"); }),
        "a pool for the plugin to destroy accepts");
  other.destroy(ours);
}

}  // namespace

#if defined(FANOUT_TESTS_LINKED)

int main() { try_all(*fanout_test_plugin()); }

#else

int main(int count, char** words) {
  if (count != 3) return 2;
  const int scope = std::string_view(words[2]) == "global" ? RTLD_GLOBAL : RTLD_LOCAL;
  for (int round = 0; round < 2; ++round) {
    void* const loaded = ::dlopen(words[1], RTLD_NOW | scope);
    if (loaded == nullptr) std::fprintf(stderr, "%s\n", ::dlerror());
    claim(loaded != nullptr, "the plugin is loaded");
    const auto find =
        reinterpret_cast<decltype(&fanout_test_plugin)>(::dlsym(loaded, "fanout_test_plugin"));
    claim(find != nullptr, "the plugin tells what it offers");
    try_all(*find());
    claim(::dlclose(loaded) == 0, "the plugin is let go");
    claim(::dlopen(words[1], RTLD_NOW | RTLD_NOLOAD) == nullptr, "and is unloaded");
    const ::pid_t child = ::fork();  // calls no handler of the plugin's
    if (child == 0) ::_exit(0);
    int status = 1;
    claim(::waitpid(child, &status, 0) == child && status == 0, "and the program may fork");
  }
}

#endif
