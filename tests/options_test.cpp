// How a pool is made: named options, their defaults, and bad ones refused by name, value and limit.

#include <gtest/gtest.h>

#include <cctype>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "support.hpp"

namespace {

using fanout::options;
using fanout::pool;

constexpr std::size_t workers_limit = 32767;
constexpr std::size_t buffer_limit = 2147483647;

/// What the constructor says to bad options; empty if it takes them.
std::string refusal_of(options opts) {
  try {
    pool p(std::move(opts));
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return {};
}

/// Whether `text` holds `word` as a whole word.
bool names(const std::string& text, const std::string& word) {
  const auto is_part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const auto end = at + word.size();
    if ((at == 0 || !is_part(text[at - 1])) && (end == text.size() || !is_part(text[end]))) {
      return true;
    }
  }
  return false;
}

TEST(Options, DefaultToOneWorkerAnd1024SlotsAndAnonymous) {
  const pool p;
  EXPECT_EQ(p.name(), "anonymous");
  EXPECT_EQ(p.workers(), 1u);
  EXPECT_EQ(p.capacity(), 1024u);
}

TEST(Options, AreNamedByDesignatedInitialisers) {
  const pool p{{.name = "cache", .workers = 3, .buffer = 7}};
  EXPECT_EQ(p.name(), "cache");
  EXPECT_EQ(p.workers(), 3u);
  EXPECT_EQ(p.capacity(), 7u);
}

TEST(Options, MayBeGivenInPart) {
  const pool named{{.name = "cache"}};
  EXPECT_EQ(named.workers(), 1u);
  EXPECT_EQ(named.capacity(), 1024u);
  const pool wide{{.workers = 2}};
  EXPECT_EQ(wide.name(), "anonymous");
  EXPECT_EQ(wide.capacity(), 1024u);
  const pool small{{.buffer = 1}};
  EXPECT_EQ(small.name(), "anonymous");
  EXPECT_EQ(small.workers(), 1u);
  EXPECT_EQ(small.capacity(), 1u);
}

TEST(Options, ZeroWorkersAreRefusedByNameValueAndLimit) {
  const auto text = refusal_of({.workers = 0});
  EXPECT_TRUE(names(text, "workers")) << text;
  EXPECT_TRUE(names(text, "0")) << text;
  EXPECT_TRUE(names(text, "32767")) << text;
}

TEST(Options, MoreThan32767WorkersAreRefusedByNameValueAndLimit) {
  const auto text = refusal_of({.workers = workers_limit + 1});
  EXPECT_TRUE(names(text, "workers")) << text;
  EXPECT_TRUE(names(text, "32768")) << text;
  EXPECT_TRUE(names(text, "32767")) << text;
}

TEST(Options, ZeroBufferIsRefusedByNameValueAndLimit) {
  const auto text = refusal_of({.buffer = 0});
  EXPECT_TRUE(names(text, "buffer")) << text;
  EXPECT_TRUE(names(text, "0")) << text;
  EXPECT_TRUE(names(text, "2147483647")) << text;
}

TEST(Options, BufferOf2To31IsRefusedByNameValueAndLimit) {
  const auto text = refusal_of({.buffer = buffer_limit + 1});
  EXPECT_TRUE(names(text, "buffer")) << text;
  EXPECT_TRUE(names(text, "2147483648")) << text;
  EXPECT_TRUE(names(text, "2147483647")) << text;
}

TEST(Options, AbsurdNumbersAreRefused) {
  constexpr auto most = std::numeric_limits<std::size_t>::max();
  EXPECT_TRUE(names(refusal_of({.workers = most}), std::to_string(most)));
  EXPECT_TRUE(names(refusal_of({.buffer = most}), std::to_string(most)));
}

TEST(Options, RefusedOnesStartNoWorker) {
  const auto hooked = std::make_shared<int>(0);
  EXPECT_NE(
      refusal_of(
          {.workers = 2, .buffer = 0, .on_worker_start = [hooked](std::size_t) { ++*hooked; }}),
      "");
  EXPECT_EQ(*hooked, 0);
  EXPECT_EQ(hooked.use_count(), 1);
}

TEST(Options, LimitsThemselvesAreTaken) {
  const pool p{{.workers = 1, .buffer = 1}};
  EXPECT_EQ(p.workers(), 1u);
  EXPECT_EQ(p.capacity(), 1u);
}

TEST(Options, NameOutlivesTheOptionsItCameFrom) {
  auto given = std::make_unique<options>();
  given->name = "a name that is too long for the small string optimisation of any library";
  const pool p(*given);
  given->name.assign(given->name.size(), '-');
  given.reset();
  EXPECT_EQ(p.name(), "a name that is too long for the small string optimisation of any library");
}

TEST(Options, PoolNeitherCopiesNorMoves) {
  EXPECT_FALSE(std::is_copy_constructible_v<pool>);
  EXPECT_FALSE(std::is_move_constructible_v<pool>);
  EXPECT_FALSE(std::is_copy_assignable_v<pool>);
  EXPECT_FALSE(std::is_move_assignable_v<pool>);
}

TEST(Options, DoNotBecomeAPoolUnasked) {
  EXPECT_TRUE((std::is_constructible_v<pool, options>));
  EXPECT_FALSE((std::is_convertible_v<options, pool>));
}

}  // namespace
