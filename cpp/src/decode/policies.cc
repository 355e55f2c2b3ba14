#include "decode/policies.h"

#include <algorithm>

#include "core/error.h"

namespace foresight {

namespace {

struct Entry {
  const char* name;
  PolicyMaker* make;
  std::vector<std::string> options;
};

// The one registration line of a strategy, with the options it takes.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> table = {
      {"autoregressive", make_autoregressive, {"confidence"}},
      {"block_diffusion",
       make_block_diffusion,
       {"block_length", "window", "steps", "min_transfer", "order", "confidence", "threshold",
        "edit_threshold", "max_post_steps", "overwrites", "greedy_first"}},
      {"feed", make_feed, {"ask", "start"}},
      {"latent_autoregressive", make_latent_autoregressive, {"window"}},
      {"masked_diffusion",
       make_masked_diffusion,
       {"schedule", "block_length", "fixed_steps", "order", "confidence", "order_temperature",
        "threshold", "factor", "factor_quirk", "steps", "epsilon", "latent_tokens", "candidates",
        "cache", "opens_with_first", "deferred"}},
      {"read_masked", make_read_masked, {}},
      {"speculative",
       make_speculative,
       {"verification", "num_tokens", "depth", "width", "dynamic", "adaptive", "repeatable",
        "costs", "token_cost", "round_cost", "typical_epsilon", "typical_delta",
        "synthetic_acceptance"}},
      {"strided", make_strided, {"stride", "exact", "row_cost"}},
  };
  return table;
}

}  // namespace

std::vector<std::string> policy_names() {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<Policy> make_policy(const std::string& name, const PolicyOptions& options) {
  std::string known;
  for (const Entry& entry : entries()) {
    if (name != entry.name) {
      known += concat(known.empty() ? "" : ", ", entry.name);
      continue;
    }
    for (const auto& [option, value] : options) {
      if (std::find(entry.options.begin(), entry.options.end(), option) == entry.options.end()) {
        throw ValueError(concat("policy '", name, "' has no option '", option, "'"));
      }
    }
    return entry.make(options);
  }
  throw ValueError(concat("policy '", name, "' is not known; known are ", known));
}

}  // namespace foresight
