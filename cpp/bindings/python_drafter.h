// A user's Python drafter as a Drafter: its method is called for every branch that wants guesses.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "decode/drafter.h"

namespace foresight {

// propose(tokens: list[int]) -> ids, or (ids, probabilities [len(ids), vocab]). Throws ValueError
// for ids outside [0, vocab_size) and for probabilities that are none.
std::shared_ptr<Drafter> make_python_drafter(pybind11::object propose, std::int64_t vocab_size);

}  // namespace foresight
