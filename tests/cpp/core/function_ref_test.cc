#include "core/function_ref.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>

namespace foresight {
namespace {

int call_with(FunctionRef<int(int)> function, int argument) { return function(argument); }

TEST(FunctionRef, CallsWhatItRefersTo) {
  int calls = 0;
  EXPECT_EQ(call_with([&](int number) { return ++calls, number + 1; }, 4), 5);
  const std::function<int(int)> doubled = [](int number) { return 2 * number; };
  EXPECT_EQ(call_with(doubled, 4), 8);
  auto counter = [count = 0](int number) mutable { return count += number; };
  call_with(counter, 1);
  EXPECT_EQ(call_with(counter, 2), 3) << "a reference, not a copy";
  EXPECT_EQ(calls, 1);
}

TEST(FunctionRef, IsTwoWordsWhateverIsCaptured) {
  const std::string large(1000, 'x');
  auto callable = [large](int number) { return static_cast<int>(large.size()) + number; };
  const FunctionRef<int(int)> reference = callable;
  EXPECT_EQ(sizeof reference, 2 * sizeof(void*));
  EXPECT_EQ(reference(1), 1001);
}

TEST(FunctionRef, PassesArgumentsOn) {
  const auto take = [](FunctionRef<int(std::unique_ptr<int>, int&)> function, int& out) {
    return function(std::make_unique<int>(7), out);
  };
  int out = 0;
  const auto body = [](std::unique_ptr<int> owned, int& target) { return target = *owned; };
  EXPECT_EQ(take(body, out), 7);
  EXPECT_EQ(out, 7);
}

static_assert(!std::is_convertible_v<int, FunctionRef<void()>>);
static_assert(!std::is_convertible_v<int (*)(std::string), FunctionRef<int(int)>>);

}  // namespace
}  // namespace foresight
