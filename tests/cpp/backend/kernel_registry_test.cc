#include "backend/kernel_registry.h"

#include <gtest/gtest.h>

namespace foresight {
namespace {

struct Twice {
  static constexpr const char* kName = "twice";
  using Signature = int(int);
};
struct Absent {
  static constexpr const char* kName = "absent";
  using Signature = void();
};

int plain(int x) { return 2 * x; }
int wide(int x) { return 2 * x + 1000; }

TEST(KernelRegistry, FallsBackToTheNearestLowerVariant) {
  KernelRegistry registry;
  registry.add<Twice>(Isa::generic, &plain);
  registry.add<Twice>(Isa::avx512, &wide);
  EXPECT_EQ(registry.get<Twice>(Isa::generic)(4), 8);
  EXPECT_EQ(registry.get<Twice>(Isa::avx2)(4), 8);
  EXPECT_EQ(registry.get<Twice>(Isa::avx512)(4), 1008);
  EXPECT_EQ(registry.get<Twice>(Isa::avx512_bf16)(4), 1008);
  EXPECT_TRUE(registry.has_variant("twice", Isa::avx512));
  EXPECT_FALSE(registry.has_variant("twice", Isa::avx2));
  EXPECT_FALSE(registry.has_variant("absent", Isa::generic));
}

TEST(KernelRegistry, WithoutAVariantBelowItIsABrokenInvariant) {
  KernelRegistry registry;
  EXPECT_THROW(registry.get<Absent>(Isa::avx512), InternalError);
  registry.add<Twice>(Isa::avx512, &wide);
  EXPECT_THROW(registry.get<Twice>(Isa::avx2), InternalError);
}

TEST(KernelRegistry, NamesAscend) {
  KernelRegistry registry;
  registry.add<Twice>(Isa::generic, &plain);
  EXPECT_EQ(registry.op_names(), std::vector<std::string>{"twice"});
}

}  // namespace
}  // namespace foresight
