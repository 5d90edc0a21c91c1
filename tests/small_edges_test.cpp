// Small edges where the pool meets its process: names of threads, stderr, memory, workers that no
// worker is.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "sanitizers.hpp"
#include "support.hpp"

namespace {

using fanout::pool;
using namespace std::chrono_literals;

// --- no_worker

TEST(NoWorker, RanATaskThatItsSubmitterRan) {
  std::vector<std::size_t> workers;
  {
    pool p{{.on_error = [&](const fanout::error_info& info) { workers.push_back(info.worker); }}};
    support::occupied busy(p);
    fanout::group g{p};
    bool failed = false;
    while (!failed) {  // until the storage is full, and this thread runs one
      ASSERT_FALSE(g.run([&] {
        failed = true;
        throw 1;
      }));
    }
  }
  EXPECT_EQ(workers, std::vector{fanout::no_worker});
}

// --- Names of threads

std::string thread_name_of(std::string pool_name) {
  pool p{{.name = std::move(pool_name)}};
  return support::on_worker(p, [] {
    char name[32] = "";
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    return std::string(name);
  });
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t size = byte < 0x80 ? 1 : byte >> 5 == 6 ? 2 : byte >> 4 == 14 ? 3 : 4;
    if (byte >> 6 == 2 || i + size > text.size()) return false;
    for (std::size_t k = 1; k < size; ++k) {
      if (static_cast<unsigned char>(text[i + k]) >> 6 != 2) return false;
    }
    i += size;
  }
  return true;
}

TEST(ThreadName, IsThePoolsWhereItFits) {
  EXPECT_EQ(thread_name_of("cache"), "cache/0");
  EXPECT_EQ(thread_name_of("thirteen-char"), "thirteen-char/0");
}

TEST(ThreadName, TellsPoolsApartThatBeginAlike) {
  EXPECT_NE(thread_name_of("requests-of-tenant-a"), thread_name_of("requests-of-tenant-b"));
}

TEST(ThreadName, IsCutBetweenCharacters) {
  for (std::size_t before = 0; before < 16; ++before) {
    for (const char* character : {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x9a\x80"}) {
      std::string name(before, 'x');
      for (int i = 0; i < 12; ++i) name += character;
      const std::string cut = thread_name_of(name);
      EXPECT_TRUE(is_utf8(cut)) << cut;
      EXPECT_LE(cut.size(), 15u);
      EXPECT_EQ(cut.substr(cut.size() - 2), "/0");
    }
  }
}

// --- stderr

/// Puts `descriptor` in the place of stderr while it lives.
class instead_of_stderr {
 public:
  explicit instead_of_stderr(int descriptor) : kept_(::dup(STDERR_FILENO)) {
    std::fflush(stderr);
    ::dup2(descriptor, STDERR_FILENO);
  }
  ~instead_of_stderr() {
    ::dup2(kept_, STDERR_FILENO);
    ::close(kept_);
  }
  instead_of_stderr(const instead_of_stderr&) = delete;
  instead_of_stderr& operator=(const instead_of_stderr&) = delete;

 private:
  const int kept_;
};

TEST(Stderr, MayBeAPipeWhoseReaderIsGone) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  {
    const instead_of_stderr broken(ends[1]);
    pool p;
    for (int i = 0; i < 3; ++i) ASSERT_FALSE(p.try_do([] { throw 1; }));
    p.close();  // a SIGPIPE would have ended the process
    EXPECT_EQ(p.stats().failed, 3u);
  }
  ::close(ends[1]);
}

TEST(Stderr, MayBeAPipeThatNobodyReads) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
  const std::string page(4096, 'x');
  while (::write(ends[1], page.data(), page.size()) > 0) {
  }
  while (::write(ends[1], "x", 1) > 0) {
  }
  ::fcntl(ends[1], F_SETFL, 0);
  {
    const instead_of_stderr full(ends[1]);
    pool p;
    for (int i = 0; i < 3; ++i) ASSERT_FALSE(p.try_do([] { throw 1; }));
    p.close();  // or the test's timeout
    EXPECT_EQ(p.stats().failed, 3u);
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Stderr, GetsTheLineOtherwise) {
  testing::internal::CaptureStderr();
  {
    pool p{{.name = "logs"}};
    ASSERT_FALSE(p.try_do([] { throw std::runtime_error("disk full"); }));
  }
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_NE(line.find("fanout: pool \"logs\", worker 0: a task submitted at "), std::string::npos);
  EXPECT_NE(line.find("disk full\n"), std::string::npos);
}

// --- Memory

#if defined(__linux__)
std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  statm >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(Buffer, ThatStaysEmptyCostsAddressSpaceOnly) {
  if (support::has_thread_sanitizer) GTEST_SKIP() << "its shadow is touched";
  const std::size_t before = resident_bytes();
  pool p{{.buffer = std::size_t{1} << 22}};  // 256 MiB of slots
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(p.try_do([] {}));
  p.wait_idle();
  EXPECT_LT(resident_bytes(), before + (std::size_t{16} << 20));
}
#endif

}  // namespace
