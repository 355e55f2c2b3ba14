#include "model/weights.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/error.h"

namespace foresight {
namespace {

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const ValueError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Weights, NamesWhatIsMissingOrMisshapen) {
  const std::vector<float> values(6, 1.0f);
  Weights weights;
  weights.add("layers.0.q", {.data = values.data(), .dtype = DType::f32, .shape = {2, 3}});
  EXPECT_EQ(weights.get("layers.0.q", {2, 3}).num_elements(), 6);
  EXPECT_NE(error_of([&] {
              weights.get("layers.0.k", {2, 3});
            }).find("'layers.0.k'"),
            std::string::npos);
  for (const auto& shape : {std::vector<std::int64_t>{3, 2}, {6}, {2, 3, 1}}) {
    const std::string error = error_of([&] {
      if (shape.size() == 1) {
        weights.get("layers.0.q", {6});
      } else if (shape.size() == 2) {
        weights.get("layers.0.q", {3, 2});
      } else {
        weights.get("layers.0.q", {2, 3, 1});
      }
    });
    EXPECT_NE(error.find("'layers.0.q'"), std::string::npos);
    EXPECT_NE(error.find("[2, 3]"), std::string::npos) << "found";
    EXPECT_NE(error.find(shape_string(shape)), std::string::npos) << "expected";
  }
}

TEST(Weights, VectorsAreFloat32WithAnOffset) {
  const std::vector<float> values{0.5f, -1.0f};
  Weights weights;
  weights.add("norm", {.data = values.data(), .dtype = DType::f32, .shape = {2}});
  EXPECT_EQ(weights.vector("norm", 2), values);
  EXPECT_EQ(weights.vector("norm", 2, 1.0f), (std::vector<float>{1.5f, 0.0f}));
  EXPECT_THROW(weights.vector("norm", 3), ValueError);
}

TEST(Weights, TheLastOfAName) {
  const std::vector<float> values(4, 1.0f);
  Weights weights;
  weights.add("a", {.data = values.data(), .dtype = DType::f32, .shape = {4}});
  weights.add("a", {.data = values.data(), .dtype = DType::f32, .shape = {2}});
  weights.add("b", {.data = values.data(), .dtype = DType::f32, .shape = {1}});
  EXPECT_EQ(weights.num_bytes(), 12u);
}

}  // namespace
}  // namespace foresight
