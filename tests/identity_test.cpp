// What must not rest on the address of a variable of the header, of which every shared object may
// have its own.

#include <gtest/gtest.h>

#include <string>
#include <system_error>

#include <fanout/fanout.hpp>

namespace {

/// As the category of a plugin that was compiled with hidden visibility.
class category_of_another : public std::error_category {
 public:
  const char* name() const noexcept override { return fanout::category().name(); }
  std::string message(int value) const override { return fanout::category().message(value); }
  std::error_condition default_error_condition(int value) const noexcept override {
    return fanout::category().default_error_condition(value);
  }
};

class stranger : public std::error_category {
 public:
  const char* name() const noexcept override { return "stranger"; }
  std::string message(int) const override { return "none of ours"; }
};

TEST(Identity, CodeOfAnotherSharedObjectEqualsItsErrc) {
  const category_of_another other;
  const std::error_code full(static_cast<int>(fanout::errc::full), other);
  EXPECT_TRUE(full == fanout::ErrFull);
  EXPECT_TRUE(fanout::ErrFull == full);
  EXPECT_FALSE(full != fanout::ErrFull);
  EXPECT_FALSE(fanout::ErrFull != full);
  EXPECT_FALSE(full == fanout::ErrClosed);
  EXPECT_TRUE(full != fanout::ErrClosed);
  EXPECT_TRUE(full == std::errc::resource_unavailable_try_again);
  EXPECT_FALSE(full == std::errc::timed_out);
}

TEST(Identity, CodeOfAnotherCategoryEqualsNoErrc) {
  const stranger other;
  EXPECT_FALSE(std::error_code(1, other) == fanout::ErrFull);
  EXPECT_TRUE(std::error_code(1, other) != fanout::ErrFull);
  EXPECT_FALSE(std::error_code() == fanout::ErrFull);
  EXPECT_FALSE(std::error_code(1, std::generic_category()) == fanout::ErrFull);
}

TEST(Identity, OwnCodeEqualsItsErrcAndNoOther) {
  using enum fanout::errc;
  for (const auto e : {full, closed, timed_out, canceled, would_deadlock, empty_task}) {
    const std::error_code code = make_error_code(e);
    for (const auto other : {full, closed, timed_out, canceled, would_deadlock, empty_task}) {
      EXPECT_EQ(code == other, e == other);
      EXPECT_EQ(other != code, e != other);
    }
  }
}

}  // namespace
