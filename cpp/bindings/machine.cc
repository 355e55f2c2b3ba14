// What this build and this processor can do, and the seeds that tests and Python share with the
// core.
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "backend/isa.h"
#include "bindings/bindings.h"
#include "core/rng.h"
#include "core/thread_pool.h"
#include "decode/policies.h"
#include "model/families/families.h"

namespace py = pybind11;

namespace foresight {

void bind_machine(py::module_& m) {
  m.def("supported_isas", [] {
    std::vector<std::string> names;
    for (const Isa isa : supported_isas()) names.emplace_back(name_of(isa));
    return names;
  });
  m.def("default_isa", [] { return std::string(name_of(default_isa())); });
  m.def("default_num_threads", &default_num_threads);
  m.def("prompt_seed", &prompt_seed, py::arg("call_seed"), py::arg("index"));
  m.def("family_names", &family_names);
  m.def("policy_names", &policy_names);
}

}  // namespace foresight
