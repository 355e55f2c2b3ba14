#include "core/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <new>
#include <utility>

namespace foresight {
namespace {

TEST(Buffer, IsZeroedAlignedAndWritable) {
  for (std::size_t size : {1u, 63u, 64u, 1000u, (1u << 20) - 1, 1u << 20, 3u << 20}) {
    Buffer buffer(size);
    ASSERT_EQ(buffer.size(), size);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
    auto* bytes = buffer.as<std::uint8_t>();
    EXPECT_TRUE(std::all_of(bytes, bytes + size, [](std::uint8_t byte) { return byte == 0; }));
    std::fill_n(bytes, size, std::uint8_t{255});
  }
}

TEST(Buffer, EmptyOwnsNothing) {
  EXPECT_EQ(Buffer().data(), nullptr);
  EXPECT_EQ(Buffer(0).data(), nullptr);
}

TEST(Buffer, MovesItsMemory) {
  Buffer first(128);
  first.as<int>()[0] = 7;
  const void* data = first.data();
  Buffer second(std::move(first));
  EXPECT_EQ(second.data(), data);
  Buffer third(2u << 20);
  third = std::move(second);
  EXPECT_EQ(third.as<int>()[0], 7);
  EXPECT_EQ(third.size(), 128u);
}

TEST(Buffer, UntouchedMemoryCostsNothing) {
  constexpr std::size_t kSize = std::size_t{1} << 34;  // sanitizers leave room for no more
  Buffer buffer(kSize);
  buffer.as<char>()[kSize / 2] = 1;
  EXPECT_EQ(buffer.as<char>()[kSize / 2 + 1], 0);
}

TEST(Buffer, HugePagesAreAdviceOnly) {
  Buffer small(100);
  small.prefer_huge_pages();
  Buffer large(8u << 20);
  large.prefer_huge_pages();
  large.as<char>()[large.size() - 1] = 1;
}

TEST(Buffer, ImpossibleSizesAreBadAlloc) {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  EXPECT_THROW(Buffer{kMost}, std::bad_alloc);
  EXPECT_THROW(Buffer{kMost / 2}, std::bad_alloc);
}

TEST(Scratch, Grows) {
  Scratch scratch;
  float* few = scratch.reserve<float>(10);
  few[9] = 1.0f;
  EXPECT_EQ(scratch.reserve<float>(5), few);
  float* many = scratch.reserve<float>(100000);
  many[99999] = 1.0f;
  EXPECT_GE(scratch.size(), 400000u);
}

}  // namespace
}  // namespace foresight
