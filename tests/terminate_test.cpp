// Policy::on_exception = terminate: the program ends with the throwing frame still on the stack.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

#if __has_include(<unwind.h>)
#include <unwind.h>
#endif

#include "support.hpp"

namespace {

struct crashing_policy : fanout::default_policy {
  static constexpr fanout::on_exception on_exception = terminate;
};
using crashing_pool = fanout::basic_pool<crashing_policy>;

bool unwound = false;

struct local {
  ~local() { unwound = true; }
};

// Cold as a whole: a compiler would otherwise move the throw away to a place of its own.
[[gnu::noinline, gnu::cold]] void throws() {
  const local here;
  throw std::runtime_error("kaput");
}

/// Says on stderr what a crash tool would find.
[[noreturn]] void examine() {
  std::string reason = "nothing";
  try {
    std::rethrow_exception(std::current_exception());
  } catch (const std::exception& e) {
    reason = e.what();
  }
  bool found = true;
#if __has_include(<unwind.h>)
  found = false;
  _Unwind_Backtrace(
      [](_Unwind_Context* frame, void* result) {
        if (_Unwind_GetRegionStart(frame) == reinterpret_cast<std::uintptr_t>(&throws)) {
          *static_cast<bool*>(result) = true;
        }
        return _URC_NO_REASON;
      },
      &found);
#endif
  std::fprintf(stderr, "reason %s, locals %s, frame %s\n", reason.c_str(),
               unwound ? "destroyed" : "alive", found ? "found" : "lost");
  std::_Exit(3);
}

class Terminate : public testing::Test {
 protected:
  Terminate() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};
using TerminateDeathTest = Terminate;

template <class Task> void crash(Task task) {
  std::set_terminate(examine);
  crashing_pool p;
  if (p.try_do(task)) std::_Exit(0);
  p.close();
  std::_Exit(0);
}

constexpr auto whole_stack = "reason kaput, locals alive, frame found";

TEST_F(TerminateDeathTest, FindsTheThrowingFrameOnTheStack) {
  EXPECT_EXIT(crash([] { throws(); }), testing::ExitedWithCode(3), whole_stack);
}

TEST_F(TerminateDeathTest, FindsItUnderATaskThatTakesTheToken) {
  EXPECT_EXIT(crash([](std::stop_token) { throws(); }), testing::ExitedWithCode(3), whole_stack);
}

TEST_F(TerminateDeathTest, FindsItUnderABoxedTask) {
  struct large {
    char ballast[500]{};
    void operator()() const { throws(); }
  };
  EXPECT_EXIT(crash(large()), testing::ExitedWithCode(3), whole_stack);
}

TEST_F(TerminateDeathTest, DoesNotCallOnError) {
  EXPECT_EXIT(
      {
        std::set_terminate(examine);
        crashing_pool p{{.on_error = [](const fanout::error_info&) { std::_Exit(4); }}};
        if (p.try_do([] { throws(); })) std::_Exit(0);
        p.close();
      },
      testing::ExitedWithCode(3), whole_stack);
}

// Somebody above a waiter may catch; its task ends the program all the same.
TEST_F(TerminateDeathTest, EndsAWaiterThatWouldCatch) {
  EXPECT_EXIT(
      {
        std::set_terminate([] { std::_Exit(3); });
        crashing_pool p;
        const support::occupied busy(p);
        fanout::basic_group<crashing_policy> g{p};
        if (g.try_do([] { throws(); })) std::_Exit(0);
        try {
          g.wait();
        } catch (const std::runtime_error&) {
          std::_Exit(4);
        }
      },
      testing::ExitedWithCode(3), "");
}

TEST_F(Terminate, LeavesTasksThatDoNotThrowAlone) {
  crashing_pool p;
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([] {}));
  EXPECT_FALSE(p.close());
  EXPECT_EQ(p.stats().completed, 10u);
  EXPECT_EQ(p.stats().failed, 0u);
}

// The examination itself: with a catch frame below, the stack is gone.
TEST_F(TerminateDeathTest, ExaminationSeesANoexceptFrame) {
  EXPECT_EXIT(crash([]() noexcept { throws(); }), testing::ExitedWithCode(3),
              "reason kaput, locals destroyed");
}

}  // namespace
