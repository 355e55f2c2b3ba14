#include "engine/session.h"

#include <pybind11/stl.h>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace foresight {

void bind_session(py::module_& m) {
  const auto no_gil = py::call_guard<py::gil_scoped_release>();
  py::class_<Session>(m, "Session", py::is_final(), py::release_gil_before_calling_cpp_dtor())
      .def_property_readonly("tokens", [](const Session& s) { return s.tokens(); })
      .def("__len__", [](const Session& s) { return s.tokens().size(); })
      .def("fork", &Session::fork, no_gil)
      .def("truncate", &Session::truncate, py::arg("length"), no_gil)
      .def("close", &Session::close, no_gil);
}

}  // namespace foresight
