#include "backend/isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/error.h"

namespace foresight {
namespace {

// Sets FORESIGHT_ISA for one test and puts back what was there.
class ForcedIsa : public testing::Test {
 protected:
  ForcedIsa() {
    if (const char* value = std::getenv(kName)) before_ = value;
  }
  ~ForcedIsa() override { before_.empty() ? unsetenv(kName) : setenv(kName, before_.c_str(), 1); }
  static void force(const char* value) { setenv(kName, value, 1); }

  static constexpr const char* kName = "FORESIGHT_ISA";

 private:
  std::string before_;
};

TEST(Isa, NamesRoundTrip) {
  for (int i = 0; i < kNumIsas; ++i) {
    const Isa isa = static_cast<Isa>(i);
    EXPECT_EQ(isa_from_name(name_of(isa)), isa);
  }
}

TEST(Isa, AnUnknownNameTellsTheChoices) {
  try {
    isa_from_name("sse9");
    FAIL() << "expected a ValueError";
  } catch (const ValueError& error) {
    const std::string text = error.what();
    for (const char* part : {"sse9", "generic", "avx2", "avx512", "avx512_bf16"}) {
      EXPECT_NE(text.find(part), std::string::npos) << text;
    }
  }
}

TEST(Isa, SupportedOnesAscendFromGeneric) {
  const std::vector<Isa> isas = supported_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::generic);
  EXPECT_TRUE(std::is_sorted(isas.begin(), isas.end()));
}

TEST_F(ForcedIsa, TheEnvironmentDecides) {
  for (const Isa isa : supported_isas()) {
    force(std::string(name_of(isa)).c_str());
    EXPECT_EQ(default_isa(), isa);
  }
  force("no such thing");
  EXPECT_THROW(default_isa(), ValueError);
}

TEST_F(ForcedIsa, EmptyMeansTheDefault) {
  unsetenv(kName);
  const Isa isa = default_isa();
  force("");
  EXPECT_EQ(default_isa(), isa);
  const std::vector<Isa> isas = supported_isas();
  EXPECT_NE(std::find(isas.begin(), isas.end(), isa), isas.end());
}

}  // namespace
}  // namespace foresight
