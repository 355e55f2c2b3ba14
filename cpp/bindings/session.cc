#include "engine/session.h"

#include <pybind11/stl.h>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace foresight {

void bind_session(py::module_& m) {
  const auto no_gil = py::call_guard<py::gil_scoped_release>();
  py::class_<Session>(m, "Session", py::is_final(), py::release_gil_before_calling_cpp_dtor())
      .def_property_readonly("tokens", py::cpp_function(&Session::tokens, no_gil))
      .def("__len__", &Session::size, no_gil)
      .def("fork", &Session::fork, no_gil)
      .def("truncate", &Session::truncate, py::arg("length"), no_gil)
      .def("close", &Session::close, no_gil);
}

}  // namespace foresight
