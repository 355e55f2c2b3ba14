#include "decode/options.h"

namespace foresight {

Confidence confidence_option(const PolicyOptions& options, const std::string& name) {
  const auto value = option<std::string>(options, name);
  if (value == "raw_probability") return Confidence::raw_probability;
  if (value == "probability") return Confidence::probability;
  if (value == "margin") return Confidence::margin;
  if (value == "entropy") return Confidence::entropy;
  if (value == "top_mean") return Confidence::top_mean;
  throw ValueError(
      concat("policy option ", name, " '", value,
             "' is not one of raw_probability, probability, margin, entropy, top_mean"));
}

}  // namespace foresight
