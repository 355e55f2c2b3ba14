#include "ops/packed_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "cpp/ops/op_fixture.h"
#include "ops/parity/cases.h"

namespace foresight::ops {
namespace {

class Packing : public testing::Test {
 protected:
  PackedMatrix pack(std::span<const TensorView> parts, DType storage) {
    return PackedMatrix::pack({.kernels = nullptr, .threads = &threads_, .isa = Isa::generic},
                              parts, storage);
  }

 private:
  ThreadPool threads_{2};
};

// Values of a type, one byte off any alignment, as a mapped file may hold them.
struct Unaligned {
  Unaligned(const std::vector<float>& values, DType dtype)
      : bytes(1 + values.size() * size_of(dtype)) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Bits16 half = dtype == DType::bf16 ? float_to_bf16(values[i]) : float_to_f16(values[i]);
      const void* from = dtype == DType::f32 ? static_cast<const void*>(&values[i]) : &half;
      std::memcpy(bytes.data() + 1 + i * size_of(dtype), from, size_of(dtype));
    }
  }
  const void* data() const { return bytes.data() + 1; }
  std::vector<std::byte> bytes;
};

TEST_F(Packing, KeepsEveryElementOfStackedParts) {
  for (const DType from : parity::kAllDTypes) {
    for (const DType storage : parity::kAllDTypes) {
      for (const std::int64_t inputs : {1, 31, 64, 77}) {
        std::vector<float> a = parity::random_values(1, 5 * inputs, 3.0f);
        std::vector<float> b = parity::random_values(2, 62 * inputs, 3.0f);
        a[0] = std::numeric_limits<float>::infinity();
        const Unaligned first(a, from), second(b, from);
        const TensorView parts[] = {{.data = first.data(), .dtype = from, .shape = {5, inputs}},
                                    {.data = second.data(), .dtype = from, .shape = {62, inputs}}};
        const PackedMatrix packed = pack(parts, storage);
        EXPECT_EQ(packed.num_outputs(), 67);
        EXPECT_EQ(packed.num_panels(), 3);
        for (std::int64_t n = 0; n < 67; ++n) {
          for (std::int64_t k = 0; k < inputs; ++k) {
            const auto& part = n < 5 ? a : b;
            const float value = part[static_cast<std::size_t>((n < 5 ? n : n - 5) * inputs + k)];
            ASSERT_EQ(packed.at(n, k), parity::stored(parity::stored(value, from), storage))
                << name_of(from) << " to " << name_of(storage) << " at " << n << ", " << k;
          }
        }
      }
    }
  }
}

TEST_F(Packing, PadsWithZeros) {
  const std::vector<float> ones(3 * 5, 1.0f);
  const TensorView part{.data = ones.data(), .dtype = DType::f32, .shape = {3, 5}};
  const PackedMatrix packed = pack({&part, 1}, DType::bf16);
  EXPECT_EQ(packed.panel_elements(), 6 * 32);
  const auto* data = static_cast<const Bits16*>(packed.panel(0));
  float sum = 0.0f;
  for (std::int64_t i = 0; i < packed.panel_elements(); ++i) sum += bf16_to_float(data[i]);
  EXPECT_EQ(sum, 15.0f);
}

TEST_F(Packing, RefusesWhatIsNoMatrix) {
  const std::vector<float> values(12);
  const TensorView vector{.data = values.data(), .dtype = DType::f32, .shape = {12}};
  EXPECT_THROW(pack({&vector, 1}, DType::f32), ValueError);
  const TensorView parts[] = {{.data = values.data(), .dtype = DType::f32, .shape = {3, 4}},
                              {.data = values.data(), .dtype = DType::f32, .shape = {4, 3}}};
  EXPECT_THROW(pack(parts, DType::f32), ValueError);
  EXPECT_THROW(pack({}, DType::f32), ValueError);
}

}  // namespace
}  // namespace foresight::ops
