// Options of controllers, read and held to their ranges.
#pragma once

#include <cstdint>
#include <string>

#include "core/options.h"

namespace foresight {

inline std::int64_t count_option(const Options& options, const std::string& name,
                                 std::int64_t least = 1) {
  const auto value = option<std::int64_t>(options, name);
  if (value < least)
    throw ValueError(concat("option '", name, "' is ", value, ", expected at least ", least));
  return value;
}

// A share above 0; with `below_one` less than 1, else at most 1.
inline double share_option(const Options& options, const std::string& name, bool below_one) {
  const auto value = option<double>(options, name);
  if (!(value > 0.0 && (below_one ? value < 1.0 : value <= 1.0))) {
    throw ValueError(concat("option '", name, "' is ", value, ", expected above 0 and ",
                            below_one ? "below 1" : "at most 1"));
  }
  return value;
}

}  // namespace foresight
