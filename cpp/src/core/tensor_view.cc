#include "core/tensor_view.h"

#include "core/error.h"

namespace foresight {

std::int64_t TensorView::num_elements() const {
  std::int64_t product = 1;
  for (std::int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(product, dim, &product)) {
      throw ValueError(concat("tensor shape ", shape_string(),
                              ": expected sizes that are not negative, with a product below 2^63"));
    }
  }
  return product;
}

std::string TensorView::shape_string() const { return foresight::shape_string(shape); }

float TensorView::at(std::int64_t index) const {
  switch (dtype) {
    case DType::f32:
      return static_cast<const float*>(data)[index];
    case DType::bf16:
      return bf16_to_float(static_cast<const Bits16*>(data)[index]);
    case DType::f16:
      return f16_to_float(static_cast<const Bits16*>(data)[index]);
  }
  throw InternalError("TensorView::at: unknown dtype");
}

std::string shape_string(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace foresight
