#include "ops/parity/parity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <unordered_set>

#include "core/error.h"

namespace foresight::ops::parity {
namespace {

class Parity : public testing::TestWithParam<int> {};

TEST_P(Parity, EveryCaseStaysWithinItsBound) {
  const auto isa = static_cast<Isa>(GetParam());
  int missing = 0;
  for (const std::string& name : case_names()) {
    const ParityResult result = run_case(name, isa);
    if (result.missing) {
      ++missing;
      continue;
    }
    EXPECT_TRUE(result.passed()) << name << " on " << name_of(isa) << ": error " << result.error
                                 << ", bound " << result.bound;
  }
  const std::vector<Isa> isas = supported_isas();
  const bool supported = std::find(isas.begin(), isas.end(), isa) != isas.end();
  if (supported) {
    EXPECT_EQ(missing, 0) << "variants for " << name_of(isa) << " are missing from this build";
  } else {
    GTEST_SKIP() << "missing: this processor or build cannot run " << name_of(isa);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, Parity, testing::Range(0, kNumIsas), [](const auto& instance) {
  return std::string(name_of(static_cast<Isa>(instance.param)));
});

TEST(ParityHarness, NamesAreUnique) {
  const std::vector<std::string> names = case_names();
  EXPECT_EQ(std::unordered_set<std::string>(names.begin(), names.end()).size(), names.size());
}

TEST(ParityHarness, AnUnknownCaseIsAValueError) {
  EXPECT_THROW(run_case("no such case", Isa::generic), ValueError);
}

}  // namespace
}  // namespace foresight::ops::parity
