#include "core/tensor_view.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace foresight {
namespace {

TEST(TensorView, CountsElementsAndBytes) {
  const TensorView view{nullptr, DType::bf16, {3, 4}};
  EXPECT_EQ(view.num_elements(), 12);
  EXPECT_EQ(view.num_bytes(), 24u);
  EXPECT_EQ(view.shape_string(), "[3, 4]");
  EXPECT_EQ((TensorView{nullptr, DType::f32, {}}.num_elements()), 1);
  EXPECT_EQ((TensorView{nullptr, DType::f32, {}}.shape_string()), "[]");
}

TEST(TensorView, ReadsEveryDtypeAsFloat) {
  const float floats[] = {1.5f, -2.0f};
  const Bits16 bfloats[] = {float_to_bf16(1.5f), float_to_bf16(-2.0f)};
  const Bits16 halves[] = {float_to_f16(1.5f), float_to_f16(-2.0f)};
  for (const TensorView& view :
       {TensorView{floats, DType::f32, {2}}, TensorView{bfloats, DType::bf16, {2}},
        TensorView{halves, DType::f16, {2}}}) {
    EXPECT_EQ(view.at(0), 1.5f);
    EXPECT_EQ(view.at(1), -2.0f);
  }
}

TEST(TensorView, ImpossibleShapesAreRefused) {
  EXPECT_THROW((TensorView{nullptr, DType::f32, {2, -1}}.num_elements()), ValueError);
  EXPECT_THROW((TensorView{nullptr, DType::f32, {1LL << 32, 1LL << 32}}.num_elements()),
               ValueError);
}

}  // namespace
}  // namespace foresight
