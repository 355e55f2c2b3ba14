// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A number is a pure function of (seed, branch key, position, draw), so nothing
// depends on the place in the batch or on scheduling.
#pragma once

#include <array>
#include <cstdint>

namespace foresight {

using Philox4x32 = std::array<std::uint32_t, 4>;

// One Philox4x32-10 block.
Philox4x32 philox(Philox4x32 counter, std::array<std::uint32_t, 2> key);

// SplitMix64's finaliser over a and b: derives seeds and branch keys.
std::uint64_t mix64(std::uint64_t a, std::uint64_t b);

struct RngKey {
  std::uint64_t seed = 0;    // the prompt's seed
  std::uint64_t branch = 0;  // 0 for the first branch; see fork()

  // Key of the child branch number `ordinal` forked when the parent had `parent_length` tokens.
  RngKey fork(std::uint64_t parent_length, std::uint64_t ordinal) const;
  bool operator==(const RngKey&) const = default;
};

// Uniform double in [0, 1) with 53 bits for (key, position, draw).
double uniform(const RngKey& key, std::uint64_t position, std::uint32_t draw);

// The seed of prompt `index` under a call's seed.
std::uint64_t prompt_seed(std::uint64_t call_seed, std::uint64_t index);

}  // namespace foresight
