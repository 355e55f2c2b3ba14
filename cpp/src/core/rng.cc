#include "core/rng.h"

namespace foresight {
namespace {

constexpr std::uint64_t kGoldenGamma = 0x9e3779b97f4a7c15u;

// SplitMix64's finaliser: a bijection of 64-bit words.
std::uint64_t finalise(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::uint32_t low(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
std::uint32_t high(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }

}  // namespace

Philox4x32 philox(Philox4x32 counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xd2511f53u} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xcd9e8d57u} * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1),
               high(product0) ^ counter[3] ^ key[1], low(product0)};
    key[0] += 0x9e3779b9u;
    key[1] += 0xbb67ae85u;
  }
  return counter;
}

std::uint64_t mix64(std::uint64_t a, std::uint64_t b) {
  return finalise(finalise(a + kGoldenGamma) ^ (b + kGoldenGamma));
}

RngKey RngKey::fork(std::uint64_t parent_length, std::uint64_t ordinal) const {
  return {.seed = seed, .branch = mix64(mix64(branch, parent_length), ordinal)};
}

double uniform(const RngKey& key, std::uint64_t position, std::uint32_t draw) {
  const std::uint64_t mixed = mix64(key.seed, key.branch);
  const Philox4x32 block =
      philox({low(position), high(position), draw, 0}, {low(mixed), high(mixed)});
  const std::uint64_t word = (std::uint64_t{block[1]} << 32) | block[0];
  return static_cast<double>(word >> 11) * 0x1p-53;
}

std::uint64_t prompt_seed(std::uint64_t call_seed, std::uint64_t index) {
  return mix64(call_seed, index);
}

}  // namespace foresight
