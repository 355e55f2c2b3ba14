// A borrowed, contiguous, row-major tensor: what Python hands the core for each weight.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace foresight {

struct TensorView {
  const void* data = nullptr;  // not owned; valid while the loader keeps the file or tensor alive
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;  // row-major, contiguous

  std::int64_t num_elements() const;
  std::size_t num_bytes() const {
    return static_cast<std::size_t>(num_elements()) * size_of(dtype);
  }
  // "[3, 4]"
  std::string shape_string() const;
  // Element by flat index, converted to float32.
  float at(std::int64_t index) const;
};

std::string shape_string(std::span<const std::int64_t> shape);

}  // namespace foresight
