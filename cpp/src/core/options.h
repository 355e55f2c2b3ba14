// Named options of a policy or a controller, as Python hands them over. Python checks what users
// say; here a missing or mistyped option is a broken invariant.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/error.h"

namespace foresight {

using OptionValue =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>>;
using Options = std::map<std::string, OptionValue>;

// Throws ValueError when the option is missing or of another type.
template <typename T>
T option(const Options& options, const std::string& name) {
  const auto found = options.find(name);
  if (found == options.end()) throw ValueError(concat("option '", name, "' is missing"));
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) throw ValueError(concat("option '", name, "' has the wrong type"));
  return *value;
}

}  // namespace foresight
