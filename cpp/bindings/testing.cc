// The parity harness of the ops, for machines without GoogleTest.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "backend/isa.h"
#include "bindings/bindings.h"
#include "ops/parity/parity.h"

namespace py = pybind11;

namespace foresight {

void bind_testing(py::module_& m) {
  using ops::parity::ParityResult;
  py::class_<ParityResult>(m, "ParityResult", py::is_final())
      .def_readonly("missing", &ParityResult::missing)
      .def_readonly("error", &ParityResult::error)
      .def_readonly("bound", &ParityResult::bound)
      .def_property_readonly("passed", &ParityResult::passed);
  m.def("case_names", &ops::parity::case_names);
  m.def(
      "run_case",
      [](const std::string& name, const std::string& isa) {
        const py::gil_scoped_release no_gil;
        return ops::parity::run_case(name, isa_from_name(isa));
      },
      py::arg("name"), py::arg("isa"));
}

}  // namespace foresight
