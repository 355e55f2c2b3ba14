// A user's strategy: a Python generator that yields foresight.Plan and foresight.Commit.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "decode/policy.h"

namespace foresight {

// `factory` is called with a view (tokens, prompt_length, cached, max_length, vocab_size) and
// returns the generator of one branch. Generators are started anew from the committed view where a
// branch is new, forked or was rolled back. Raises ValueError for anything yielded that is not
// understood.
std::shared_ptr<const Policy> make_generator_policy(pybind11::object factory);

}  // namespace foresight
