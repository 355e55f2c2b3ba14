// A user's Python controller as a Controller, and those of the core as Python names them.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "control/answer_book.h"
#include "control/controller.h"

namespace foresight {

// A new controller for one request. `controller` is what make_controller returned, or an object
// with the methods and attributes of foresight.Controller, of which the request gets a deep copy.
// Answers that Python sees and names are texts of `book`, which must outlive the controller.
// Needs the GIL; the controller's own calls take it. Raises TypeError and ValueError for options
// that are none, and in the middle of a request for actions that are none.
std::shared_ptr<Controller> controller_from(pybind11::handle controller, AnswerBook& book);

// Whether it calls Python, so that it runs on the thread of the call only.
bool calls_python(pybind11::handle controller);

void bind_python_controller(pybind11::module_& m);

}  // namespace foresight
