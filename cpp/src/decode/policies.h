// All strategies by name. A new one is one file here, one maker and one line of the table.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "decode/policy.h"

namespace foresight {

using PolicyOptions = Options;
using PolicyMaker = std::unique_ptr<Policy>(const PolicyOptions& options);

PolicyMaker make_autoregressive;
PolicyMaker make_block_diffusion;
PolicyMaker make_feed;
PolicyMaker make_latent_autoregressive;
PolicyMaker make_masked_diffusion;
PolicyMaker make_read_masked;
PolicyMaker make_speculative;
PolicyMaker make_strided;

// Throws ValueError naming the known policies, or an option that the policy does not have.
std::unique_ptr<Policy> make_policy(const std::string& name, const PolicyOptions& options);
std::vector<std::string> policy_names();

}  // namespace foresight
