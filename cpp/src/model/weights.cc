#include "model/weights.h"

#include <algorithm>

#include "core/error.h"

namespace foresight {

const TensorView* Weights::find(const std::string& name) const {
  const auto found = views_.find(name);
  return found == views_.end() ? nullptr : &found->second;
}

const TensorView& Weights::get(const std::string& name,
                               std::initializer_list<std::int64_t> shape) const {
  const TensorView* found = find(name);
  if (found == nullptr) throw ValueError(concat("tensor '", name, "' is missing"));
  const TensorView& view = *found;
  if (!std::equal(shape.begin(), shape.end(), view.shape.begin(), view.shape.end())) {
    throw ValueError(concat("tensor '", name, "' has shape ", view.shape_string(), ", expected ",
                            shape_string(std::span(shape.begin(), shape.size()))));
  }
  return view;
}

std::vector<float> Weights::vector(const std::string& name, std::int64_t size, float offset) const {
  const TensorView& view = get(name, {size});
  std::vector<float> values(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) values[static_cast<std::size_t>(i)] = view.at(i) + offset;
  return values;
}

std::size_t Weights::num_bytes() const {
  std::size_t total = 0;
  for (const auto& [name, view] : views_) total += view.num_bytes();
  return total;
}

}  // namespace foresight
