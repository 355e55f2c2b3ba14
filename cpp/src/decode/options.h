// Reading the options of a policy that need more than core/options.h.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"
#include "decode/policies.h"

namespace foresight {

inline std::vector<Token> token_option(const PolicyOptions& options, const std::string& name) {
  std::vector<Token> tokens;
  for (const std::int64_t token : option<std::vector<std::int64_t>>(options, name))
    tokens.push_back(static_cast<Token>(token));
  return tokens;
}

Confidence confidence_option(const PolicyOptions& options, const std::string& name);

}  // namespace foresight
