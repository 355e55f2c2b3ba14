// One function per bound class; no logic lives in this folder.
#pragma once

#include <pybind11/pybind11.h>

namespace foresight {

void bind_errors(pybind11::module_& m);
void bind_machine(pybind11::module_& m);
void bind_control(pybind11::module_& m);
void bind_engine(pybind11::module_& m);
void bind_drafter(pybind11::module_& m);
void bind_draft_model(pybind11::module_& m);
void bind_draft_head(pybind11::module_& m);
void bind_session(pybind11::module_& m);
void bind_job(pybind11::module_& m);
void bind_testing(pybind11::module_& m);
void bind_testing_sample(pybind11::module_& m);
void bind_testing_draft(pybind11::module_& m);
void bind_testing_model(pybind11::module_& m);

// Lets Python handle signals (Ctrl-C) from inside a run without the GIL; throws what the handler
// raised. Takes the GIL at most every few milliseconds.
void poll_signals();

}  // namespace foresight
