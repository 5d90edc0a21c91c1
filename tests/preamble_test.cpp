// The header after what others define: the macros of Qt, X11, Windows, Arduino, curses and old Unix.
// They stand behind the standard headers, which do not bear all of them.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>
#include <version>
#if defined(__unix__) || defined(__APPLE__)
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#define FOREIGN an error : a name of the header is a macro of somebody else

// Qt
#define signals FOREIGN
#define slots FOREIGN
#define emit FOREIGN
#define foreach FOREIGN
#define forever FOREIGN
// Windows
#undef min
#undef max
#define min(a, b) FOREIGN
#define max(a, b) FOREIGN
#define near FOREIGN
#define far FOREIGN
#define small FOREIGN
#define hyper FOREIGN
#define interface FOREIGN
#define pascal FOREIGN
#define cdecl FOREIGN
#define IN FOREIGN
#define OUT FOREIGN
#define OPTIONAL FOREIGN
#define ERROR FOREIGN
#define NO_ERROR FOREIGN
#define DELETE FOREIGN
#define VOID FOREIGN
#define CONST FOREIGN
#define CALLBACK FOREIGN
#define STRICT FOREIGN
#define IGNORE FOREIGN
#define INFINITE FOREIGN
#define ABSOLUTE FOREIGN
#define RELATIVE FOREIGN
#define TRANSPARENT FOREIGN
#define Yield() FOREIGN
#define GetCurrentTime() FOREIGN
#define GetMessage FOREIGN
#define SendMessage FOREIGN
#define CreateWindow FOREIGN
// X11
#define None FOREIGN
#define Bool FOREIGN
#define Status FOREIGN
#define True FOREIGN
#define False FOREIGN
#define Always FOREIGN
#define Success FOREIGN
#define Complex FOREIGN
#define KeyPress FOREIGN
#define KeyRelease FOREIGN
#define FocusIn FOREIGN
#define FocusOut FOREIGN
#define CursorShape FOREIGN
#define Unsorted FOREIGN
#define GrayScale FOREIGN
#define Above FOREIGN
#define Below FOREIGN
#define Opposite FOREIGN
#define Expose FOREIGN
#define Convex FOREIGN
// Arduino
#define HIGH FOREIGN
#define LOW FOREIGN
#define INPUT FOREIGN
#define OUTPUT FOREIGN
#define DEFAULT FOREIGN
#define INTERNAL FOREIGN
#define EXTERNAL FOREIGN
#define PI FOREIGN
#define B0 FOREIGN
#define B1 FOREIGN
#define F(string) FOREIGN
#define bit(b) FOREIGN
#define sq(x) FOREIGN
#define abs(x) FOREIGN
#define round(x) FOREIGN
#define radians(x) FOREIGN
#define degrees(x) FOREIGN
#define constrain(x, low, high) FOREIGN
#define word(...) FOREIGN
#define lowByte(w) FOREIGN
#define highByte(w) FOREIGN
#define bitRead(value, b) FOREIGN
#define interrupts() FOREIGN
#define noInterrupts() FOREIGN
// curses
#define move(y, x) FOREIGN
#define clear() FOREIGN
#define erase() FOREIGN
#define refresh() FOREIGN
#define timeout(delay) FOREIGN
#define box(window, v, h) FOREIGN
#define border(a, b, c, d, e, f, g, h) FOREIGN
#define filter() FOREIGN
#define echo() FOREIGN
#define beep() FOREIGN
#define standout() FOREIGN
#define instr(s) FOREIGN
#define insch(c) FOREIGN
#define getch() FOREIGN
// Unix, Linux, macOS
#define major(x) FOREIGN
#define minor(x) FOREIGN
#undef unix
#undef linux
#define unix FOREIGN
#define linux FOREIGN
#define check(x) FOREIGN
#define verify(x) FOREIGN
#define require(x, label) FOREIGN
#define I FOREIGN
#define L FOREIGN
#define log FOREIGN
#define LOG(x) FOREIGN
#define ASSERT(x) FOREIGN
#define CHECK(x) FOREIGN
#define VERSION FOREIGN
#define TAG FOREIGN

#include <fanout/fanout.hpp>

#if !defined(move) || !defined(clear) || !defined(min)
#error "the header leaves the macros of others as they are"
#endif

#undef signals
#undef slots
#undef emit
#undef min
#undef max
#undef F
#undef move
#undef clear
#undef erase
#undef log
#undef ASSERT
#undef CHECK
#undef timeout
#undef word
#undef I
#undef L
#undef abs
#undef box
#undef bit
#undef check
#undef filter
#undef major
#undef minor
#undef round
#undef VOID
#undef CONST
#undef IN
#undef OUT

namespace {

TEST(Preamble, LeavesTheHeaderWhole) {
  int ran = 0;
  fanout::pool pool{{.name = "preamble", .workers = 2, .buffer = 4}};
  EXPECT_EQ(pool.submit_wait([&] { return ++ran; }).get(), 1);
  fanout::group group{pool};
  EXPECT_FALSE(group.run([&] { ++ran; }));
  EXPECT_FALSE(group.wait());
  EXPECT_FALSE(pool.do_evict([&] { ++ran; }));
  EXPECT_FALSE(pool.wait_idle());
  EXPECT_EQ(pool.purge(), 0u);
  EXPECT_FALSE(pool.close_for(std::chrono::hours(1)));
  EXPECT_EQ(ran, 3);
  fanout::basic_pool<fanout::timed_policy> timed;
  EXPECT_EQ(timed.stats().wait_time.count(), 0u);
}

}  // namespace
