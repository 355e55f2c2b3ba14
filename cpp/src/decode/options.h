// Reading the options that Python hands to a policy. Python checks what users say; here a missing
// or mistyped option is a broken invariant.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "decode/policies.h"

namespace foresight {

template <typename T>
T option(const PolicyOptions& options, const std::string& name) {
  const auto found = options.find(name);
  if (found == options.end()) throw ValueError(concat("policy option '", name, "' is missing"));
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) throw ValueError(concat("policy option '", name, "' has the wrong type"));
  return *value;
}

inline std::vector<Token> token_option(const PolicyOptions& options, const std::string& name) {
  std::vector<Token> tokens;
  for (const std::int64_t token : option<std::vector<std::int64_t>>(options, name))
    tokens.push_back(static_cast<Token>(token));
  return tokens;
}

Confidence confidence_option(const PolicyOptions& options, const std::string& name);

}  // namespace foresight
