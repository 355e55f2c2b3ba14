// Moves a vector into a numpy array without a copy.
#pragma once

#include <pybind11/numpy.h>

#include <memory>
#include <utility>
#include <vector>

namespace foresight {

template <typename T>
pybind11::array_t<T> to_array(std::vector<T> values, std::vector<pybind11::ssize_t> shape) {
  auto owner = std::make_unique<std::vector<T>>(std::move(values));
  T* data = owner->data();
  pybind11::capsule keeper(owner.get(), [](void* p) { delete static_cast<std::vector<T>*>(p); });
  owner.release();
  return pybind11::array_t<T>(std::move(shape), data, keeper);
}

}  // namespace foresight
