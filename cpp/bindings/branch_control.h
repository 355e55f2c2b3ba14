// Controlled branches of a job, from and to Python.
#pragma once

#include <pybind11/pybind11.h>

#include "engine/branch_control.h"

namespace foresight {

// From the keyword arguments of a request's control: controller (see controller_from), name,
// read_answer(tokens, where) -> str | None, probe_suffix, max_probe_tokens, order.
ControlSpec control_spec_from(const pybind11::dict& fields);

// Per branch: status, reason, answer, probes, confidence, start, inherited, num_tokens.
pybind11::list branches_of(const BranchControl& control);

// answer, winner, votes, clock, reason, early_events, and the tokens that a probe of the winner
// added (its suffix and what was written), where the answer comes from it.
pybind11::dict outcome_of(const BranchControl& control);

}  // namespace foresight
