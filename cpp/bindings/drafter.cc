#include "decode/drafter.h"

#include "bindings/bindings.h"

namespace py = pybind11;

namespace foresight {

void bind_drafter(py::module_& m) { py::class_<Drafter, std::shared_ptr<Drafter>>(m, "Drafter"); }

}  // namespace foresight
